"""Which tokens the model sees at which step: a pure function of the seed and the step, without any state to save."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from deepsight.data.packed import Tokens
from deepsight.data.player import Player
from deepsight.errors import UserError
from deepsight.random_streams import derive
from deepsight.trace import IGNORED


class Batch(NamedTuple):
    """Sequences, int64.

    Attributes:
        inputs: tokens.
        targets: the target at a position is the input at the next.
        later: the tokens after the last target, if any were asked for; `IGNORED` where the split has ended.

    """

    inputs: Int[Tensor, "batch context"]
    targets: Int[Tensor, "batch context"]
    later: Int[Tensor, "batch later"] | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; to a GPU it travels while the CPU goes on."""

        def sent(tensor: Tensor) -> Tensor:
            # Only pinned memory can be copied from meanwhile.
            return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)

        return Batch(sent(self.inputs), sent(self.targets), None if self.later is None else sent(self.later))


class Batches:
    """The training batches of one seed.

    An epoch cuts the split into windows that share no input, beginning at an offset of the epoch's own, and visits each
    once in the epoch's own order. Sequence number ``step * batch_size + j`` decides, so another batch size shows the
    same sequences in the same order. One window's worth of tokens is given up to make room for the offset.

    Attributes:
        context: tokens in a sequence.
        batch_size: sequences in a batch.
        windows: sequences in an epoch.
        later: tokens given beside each window, after its last target; they change no window.

    """

    def __init__(self, tokens: Tokens, *, context: int, batch_size: int, seed: int, later: int = 0) -> None:
        """Divide the split.

        Raises:
            UserError: it has fewer than context + 1 tokens.

        """
        self.context = context
        self.batch_size = batch_size
        self.later = later
        self.windows = max(1, _windows_in(tokens, context, "training") - 1)
        self._tokens = tokens
        self._seed = seed
        self._room = (len(tokens) - 1) - self.windows * context
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step (from 0 on)."""
        sequences = range(step * self.batch_size, (step + 1) * self.batch_size)
        return _batch(self._tokens, [self._start(sequence) for sequence in sequences], self.context, self.later)

    def _start(self, sequence: int) -> int:
        epoch, position = divmod(sequence, self.windows)
        if epoch not in self._epochs:
            # A batch may reach into the next epoch; more than these two are never needed again.
            self._epochs = {kept: starts for kept, starts in self._epochs.items() if kept == epoch - 1}
            self._epochs[epoch] = self._starts(epoch)
        return int(self._epochs[epoch][position])

    def _starts(self, epoch: int) -> npt.NDArray[np.int64]:
        # RandomState is the one generator of numpy whose numbers are promised never to change.
        generator = np.random.RandomState(np.random.MT19937(derive(self._seed, "batches", epoch)))
        offset = generator.randint(min(self._room, self.context - 1) + 1)
        return offset + self.context * generator.permutation(self.windows).astype(np.int64)


class ValidationWindows:
    """Fixed windows that share no input, spread evenly over the validation split: the same for every arm.

    Attributes:
        context: tokens in a window.
        starts: where each window begins, (windows,).
        later: tokens given beside each window, after its last target.

    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        context: int,
        count: int | None = None,
        later: int = 0,
        end_of_text: int | None = None,
    ) -> None:
        """Choose `count` windows; all there are where it is None or greater.

        Args:
            tokens: of the split.
            context: tokens in a window.
            count: of windows.
            later: tokens given beside each window.
            end_of_text: the id that ends each document; without one the split is a single document.

        Raises:
            UserError: the split has fewer than context + 1 tokens.

        """
        available = _windows_in(tokens, context, "validation")
        count = available if count is None else min(count, available)
        self.context = context
        self.later = later
        self._end_of_text = end_of_text
        self.starts: npt.NDArray[np.int64] = np.arange(count, dtype=np.int64) * available // count * context
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self.starts)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches of at most `batch_size` windows at a time; each batch is spread over the split."""
        for starts in self.starts_of_batches(batch_size):
            yield _batch(self._tokens, starts.tolist(), self.context, self.later)

    @property
    def documents(self) -> int:
        """How many documents the split has, the one after its last end of text included."""
        return len(self._ends) + 1

    def documents_of(self, batch: int, batch_size: int) -> npt.NDArray[np.int64]:
        """Return the document of each target of a batch, counted from 0, (batch, context).

        A document is the text up to its end-of-text token, and that.
        """
        starts = self.starts_of_batches(batch_size)[batch]
        targets = starts[:, None] + np.arange(1, self.context + 1)
        return np.searchsorted(self._ends, targets, side="left").astype(np.int64)

    def measures(self, player: Player) -> dict[str, float]:
        """Return nothing: of running text losses are all that is measured."""
        return {}

    @functools.cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        if self._end_of_text is None:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(np.asarray(self._tokens) == self._end_of_text)

    def starts_of_batches(self, batch_size: int) -> list[npt.NDArray[np.int64]]:
        """Return where in the split the windows of each batch begin, (windows,)."""
        count = -(-len(self.starts) // batch_size)
        return [self.starts[first::count] for first in range(count)]


class BatchDigest:
    """A rolling digest of the sequences a run has seen; it does not depend on how they were put into batches.

    `hexdigest` is also the whole state: ``BatchDigest(saved)`` goes on where the saved one stood.
    """

    def __init__(self, state: str = "") -> None:
        self._state = state

    def update(self, inputs: Int[Tensor, "batch context"]) -> None:
        """Take in further sequences, in order."""
        for row in inputs.detach().cpu().numpy().astype("<i8"):
            self._state = hashlib.sha256(self._state.encode("ascii") + row.tobytes()).hexdigest()

    def hexdigest(self) -> str:
        """SHA-256 (64 hexadecimal digits); an empty string before the first sequence."""
        return self._state


def _windows_in(tokens: Tokens, context: int, split: str) -> int:
    windows = (len(tokens) - 1) // context
    if windows < 1:
        raise UserError(
            f"the {split} split has {len(tokens)} tokens, too few for a context of {context}; "
            f"give more text, or a context of at most {max(len(tokens) - 1, 1)}"
        )
    return windows


def _batch(tokens: Tokens, starts: list[int], context: int, later: int) -> Batch:
    windows = np.stack([tokens[start : start + context + 1] for start in starts]).astype(np.int64)
    whole = torch.from_numpy(windows)
    return Batch(whole[:, :-1].contiguous(), whole[:, 1:].contiguous(), _later(tokens, starts, context, later))


def _later(tokens: Tokens, starts: list[int], context: int, later: int) -> Tensor | None:
    if not later:
        return None
    rows = np.full((len(starts), later), IGNORED, dtype=np.int64)
    for row, start in zip(rows, starts, strict=True):
        found = tokens[start + context + 1 : start + context + 1 + later]
        row[: len(found)] = found
    return torch.from_numpy(rows)
