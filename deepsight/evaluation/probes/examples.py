"""What probes are trained and measured on: positions of held-out sequences, split by document."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.data.batches import Batch, Batches
from deepsight.data.source import Windows
from deepsight.errors import UserError
from deepsight.evaluation.probes.places import ProbedPlace, state_at
from deepsight.evaluation.probes.probe import Subject
from deepsight.random_streams import derive
from deepsight.trace import IGNORED, Trace

TRAIN, SELECT, TEST = range(3)
"""The parts: a probe is trained on the first, its training ends by the second, and the third measures it."""
SHARES = {TEST: 0.25, SELECT: 0.15}
"""Of the positions; the rest is trained on."""
FEWEST = 20
"""Positions of a part at which a token ahead must count."""
TOKENS_AT_ONCE = 4096
LOOKED_AT = 64
"""Sequences from which it is counted how many are needed."""


@dataclass(frozen=True)
class Examples:
    """Positions t of held-out sequences, in a fixed order.

    Attributes:
        offsets: how far ahead the tokens lie, k.
        tokens: x_t, the last token read.
        ahead: x_{t+k} for each offset, `IGNORED` where it does not count (`Trace.ahead`).
        documents: the document of x_{t+1}.
        parts: `TRAIN`, `SELECT` or `TEST`; a document lies in one part as a whole.

    """

    offsets: tuple[int, ...]
    tokens: Int[Tensor, " positions"]
    ahead: Int[Tensor, "positions offsets"]
    documents: Int[Tensor, " positions"]
    parts: Int[Tensor, " positions"]
    _looked: _Looked
    _device: torch.device

    @torch.no_grad()
    def states(
        self, model: Architecture, place: ProbedPlace, alive: Callable[[], None]
    ) -> Float[Tensor, "positions width"]:
        """Return a network's states at a place, of these positions."""
        found = []
        for batch, chosen in zip(self._looked.windows.batches(self._looked.size), self._looked.chosen, strict=True):
            alive()
            inputs, targets, _ = batch.to(self._device)
            state = state_at(model, model(inputs, targets), place)
            found.append(state[chosen[:, chosen.shape[1] - state.shape[1] :].to(self._device)].float())
        return torch.cat(found)

    def with_offsets(self, kept: Sequence[int]) -> Examples:
        """Return the same positions with some of the offsets."""
        columns = [self.offsets.index(offset) for offset in kept]
        return dataclasses.replace(self, offsets=tuple(kept), ahead=self.ahead[:, columns])


def examples_of(subject: Subject, offsets: Sequence[int], positions: int) -> Examples:
    """Return about so many positions at which a token at one of the offsets counts, of whole sequences.

    Sequences are spread over what is held out, as for the validation loss, whatever number of them that has; positions
    before `evaluation.first_position` are left out. Nothing of it depends on the run's seed or its network, so arms and
    seeds of a study are measured on the same positions.

    Raises:
        UserError: nothing counts, or the sequences lie in fewer than three documents.

    """
    few = _Looked.at(subject, offsets, LOOKED_AT)
    each = sum(int(chosen.sum()) for chosen in few.chosen) / len(few.windows)
    if not each:
        raise UserError(f"no token that counts lies {' or '.join(map(str, offsets))} ahead of any position")
    looked = _Looked.at(subject, offsets, max(3, math.ceil(positions / each)))
    tokens, ahead, documents = map(looked.joined, (looked.tokens, looked.ahead, looked.documents))
    return Examples(
        offsets=tuple(offsets),
        tokens=tokens,
        ahead=ahead,
        documents=documents,
        parts=split_by_document(documents, subject.seed),
        _looked=looked,
        _device=subject.device,
    )


@dataclass(frozen=True)
class _Looked:
    """Some held-out sequences, batch by batch: what stands in them, and which of their positions are examples."""

    windows: Windows
    size: int
    tokens: list[Int[Tensor, "batch time"]]
    ahead: list[Int[Tensor, "batch time offsets"]]
    documents: list[Int[Tensor, "batch time"]]
    chosen: list[Bool[Tensor, "batch time"]]

    def joined(self, batches: Sequence[Tensor]) -> Tensor:
        """Return what is known of the chosen positions, all batches together."""
        return torch.cat([batch[chosen] for batch, chosen in zip(batches, self.chosen, strict=True)])

    @staticmethod
    def at(subject: Subject, offsets: Sequence[int], count: int) -> _Looked:
        config, model = subject.config, subject.model
        first = max(config.evaluation.first_position, model.first_predicted(config.model))
        windows = subject.source.windows(context=config.model.context, count=count, later=max(offsets) - 1)
        size = max(1, TOKENS_AT_ONCE // windows.context)
        batches = list(windows.batches(size))
        ahead = [tokens_ahead(batch, offsets, config.data.end_of_text) for batch in batches]
        chosen = [(of_batch != IGNORED).any(dim=-1) for of_batch in ahead]
        for of_batch in chosen:
            of_batch[:, :first] = False
        documents = [torch.from_numpy(np.array(windows.documents_of(at, size))) for at in range(len(batches))]
        return _Looked(windows, size, [batch.inputs for batch in batches], ahead, documents, chosen)


def counting(examples: Examples) -> Examples:
    """Return the examples with the offsets that count at enough positions of every part.

    Raises:
        UserError: there are none.

    """
    counted = [(examples.ahead[examples.parts == part] != IGNORED).sum(dim=0) for part in (TRAIN, SELECT, TEST)]
    enough = torch.stack(counted).min(dim=0).values >= FEWEST
    kept = [offset for offset, keep in zip(examples.offsets, enough.tolist(), strict=True) if keep]
    if not kept:
        raise UserError(
            f"no token ahead counts at {FEWEST} positions of every part of the held-out documents; give more text, or "
            "ask of more positions",
            ("positions",),
        )
    return examples.with_offsets(kept)


def split_by_document(documents: Int[Tensor, " positions"], seed: int) -> Int[Tensor, " positions"]:
    """Return the part of each position: documents in an order of their own fill the test part, then the second one.

    Raises:
        UserError: there are fewer than three documents.

    """
    numbers, place, counts = torch.unique(documents, return_inverse=True, return_counts=True)
    if len(numbers) < 3:
        raise UserError(
            f"the held-out sequences lie in {len(numbers)} documents; a probe is trained and measured on different "
            "ones, and needs at least 3"
        )
    order = sorted(range(len(numbers)), key=lambda at: derive(seed, "split of probes", int(numbers[at])))
    part_of = torch.full((len(numbers),), TRAIN)
    for later, (part, share) in zip(reversed(range(len(SHARES))), SHARES.items(), strict=True):
        filled = 0
        # The parts that come later get at least one document each.
        while filled < share * len(documents) and len(order) > later + 1:
            document = order.pop()
            part_of[document] = part
            filled += int(counts[document])
    return part_of[place]


def tokens_ahead(batch: Batch, offsets: Sequence[int], end_of_text: int | None) -> Int[Tensor, "batch time offsets"]:
    """Return x_{t+k} of each position and offset k, `IGNORED` where it does not count; no network is needed."""
    nothing = torch.empty(*batch.inputs.shape, 0)
    trace = Trace(
        batch.inputs, batch.targets, nothing, nothing, nothing, nothing[0], later=batch.later, end_of_text=end_of_text
    )
    return torch.stack([trace.ahead(offset) for offset in offsets], dim=-1)


def trained_on(
    subject: Subject, offsets: Sequence[int], most: int, alive: Callable[[], None]
) -> tuple[Int[Tensor, " positions"], Int[Tensor, "positions offsets"]]:
    """Return x_t and x_{t+k} of sequences that runs are trained on, none twice: as many tokens as this run has read.

    Which sequences depends on `subject.seed` alone.

    Args:
        subject: the run.
        offsets: k.
        most: tokens, at most.
        alive: called at every batch.

    """
    config = subject.config
    context, later, end = config.model.context, max(offsets) - 1, config.data.end_of_text
    left = min(most, config.training.steps * config.training.batch_size * context)
    size = max(1, TOKENS_AT_ONCE // context)
    batches = subject.source.batches(context=context, batch_size=size, seed=subject.seed, later=later)
    if isinstance(batches, Batches):
        # Another epoch reads the same text in other windows.
        left = min(left, batches.windows * context)
    tokens, ahead, known = [], [], set[bytes]()
    step = 0
    while left > 0:
        alive()
        batch = batches(step)
        step += 1
        new = list(_new_rows(batch.inputs, known))[: -(-left // batch.inputs.shape[1])]
        found = tokens_ahead(batch, offsets, end)[new]
        counts = (found != IGNORED).any(dim=-1)
        tokens.append(batch.inputs[new][counts])
        ahead.append(found[counts])
        left -= len(new) * batch.inputs.shape[1]
        if not new:
            break
    return torch.cat(tokens), torch.cat(ahead)


def _new_rows(inputs: Int[Tensor, "batch time"], known: set[bytes]) -> Iterator[int]:
    for at, row in enumerate(inputs.numpy()):
        if (content := row.tobytes()) not in known:
            known.add(content)
            yield at
