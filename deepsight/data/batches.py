"""Which tokens the model sees at which step: a pure function of the seed and the step, without any state to save."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from deepsight.data.packed import Tokens
from deepsight.errors import UserError
from deepsight.random_streams import derive

Pair = tuple[Int[Tensor, "batch context"], Int[Tensor, "batch context"]]
"""Inputs and targets, int64: the target at a position is the input at the next."""


class Batches:
    """The training batches of one seed.

    An epoch cuts the split into windows that share no input, beginning at an offset of the epoch's own, and visits each
    once in the epoch's own order. Sequence number ``step * batch_size + j`` decides, so another batch size shows the
    same sequences in the same order. One window's worth of tokens is given up to make room for the offset.

    Attributes:
        context: tokens in a sequence.
        batch_size: sequences in a batch.
        windows: sequences in an epoch.

    """

    def __init__(self, tokens: Tokens, *, context: int, batch_size: int, seed: int) -> None:
        """Divide the split.

        Raises:
            UserError: it has fewer than context + 1 tokens.

        """
        self.context = context
        self.batch_size = batch_size
        self.windows = max(1, _windows_in(tokens, context, "training") - 1)
        self._tokens = tokens
        self._seed = seed
        self._room = (len(tokens) - 1) - self.windows * context
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}

    def __call__(self, step: int) -> Pair:
        """Return inputs and targets of a step (from 0 on)."""
        sequences = range(step * self.batch_size, (step + 1) * self.batch_size)
        return _pair(self._tokens, [self._start(sequence) for sequence in sequences], self.context)

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

    """

    def __init__(self, tokens: Tokens, *, context: int, count: int | None = None) -> None:
        """Choose `count` windows; all there are where it is None or greater.

        Raises:
            UserError: the split has fewer than context + 1 tokens.

        """
        available = _windows_in(tokens, context, "validation")
        count = available if count is None else min(count, available)
        self.context = context
        self.starts: npt.NDArray[np.int64] = np.arange(count, dtype=np.int64) * available // count * context
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self.starts)

    def batches(self, batch_size: int) -> Iterator[Pair]:
        """Yield inputs and targets of at most `batch_size` windows at a time; each batch is spread over the split."""
        count = -(-len(self.starts) // batch_size)
        for first in range(count):
            yield _pair(self._tokens, self.starts[first::count].tolist(), self.context)


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


def _pair(tokens: Tokens, starts: list[int], context: int) -> Pair:
    windows = np.stack([tokens[start : start + context + 1] for start in starts]).astype(np.int64)
    whole = torch.from_numpy(windows)
    return whole[:, :-1].contiguous(), whole[:, 1:].contiguous()
