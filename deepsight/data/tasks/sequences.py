"""The sequences of a task: what is trained on, step by step, and what is measured, never the same."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from deepsight.data.batches import Batch
from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.task import Task
from deepsight.errors import UserError
from deepsight.random_streams import derive
from deepsight.trace import IGNORED

BLOCK = 2048
"""Sequences that are drawn together; a part of what names them, so another number gives other sequences."""
NEW_AT_LEAST = 0.01
"""Share of drawn sequences that must be new while a training set is made; where it is less, they run out."""
DATA_SEED = 0
"""Of what is the same for every run: the fixed training set, and the held-out sequences."""
EXAMINED = 256
"""Sequences that are looked at to learn where answers begin."""
MOST_DRAWS = 400
"""Blocks without a single fitting sequence after which there is none."""


def drawn(task: Task, count: int, seed: int, *purpose: str | int, held_out: bool = False) -> Sequences:
    """Return sequences of one part of a task, (count, length): those to train on, or those held out.

    Raises:
        UserError: there are no sequences of this part.

    """
    random = np.random.RandomState(np.random.MT19937(derive(seed, *purpose)))
    parts: list[Sequences] = []
    found = empty = 0
    while found < count and empty < MOST_DRAWS:
        sequences = task.draw(random, BLOCK)
        sequences = sequences[(task.keys(sequences) % np.uint64(task.held_out) == 0) == held_out]
        empty = 0 if len(sequences) else empty + 1
        parts.append(sequences)
        found += len(sequences)
    if found < count:
        part = "to measure on" if held_out else "to train on"
        raise UserError(f"with these parameters the task has no sequences {part}; give it more labels, or longer ones")
    return np.concatenate(parts)[:count]


@functools.lru_cache(maxsize=8)
def distinct(task: Task, count: int, seed: int) -> Sequences:
    """Return a training set of `count` different sequences, (count, length), read-only.

    Raises:
        UserError: the task does not have so many.

    """
    random = np.random.RandomState(np.random.MT19937(derive(seed, "training set")))
    known = np.empty((0, task.length), dtype=np.int64)
    blocks = math.ceil(count / BLOCK)
    while len(known) < count:
        sequences = np.concatenate([task.draw(random, BLOCK) for _ in range(blocks)])
        sequences = sequences[task.keys(sequences) % np.uint64(task.held_out) != 0]
        together = np.concatenate([known, sequences])
        _, first = np.unique(together, axis=0, return_index=True)
        if len(first) < count and len(first) - len(known) < NEW_AT_LEAST * len(sequences):
            raise UserError(
                f"there are only about {len(first):,} different sequences to train on, not {count:,}",
                ("training_set",),
            )
        known = together[np.sort(first)]
        # Looking for equal ones costs as much as all that is known, so each look is at more.
        blocks *= 2
    known = known[:count]
    known.flags.writeable = False
    return known


class TaskBatches:
    """The training batches of one seed: new sequences at every step, or a fixed set in an order of each epoch's own.

    Sequence number ``step * batch_size + j`` decides, so another batch size shows the same sequences in the same order.

    Attributes:
        batch_size: sequences in a batch.
        later: tokens beside each sequence; there are none, so they are `IGNORED`.

    """

    def __init__(self, task: Task, *, batch_size: int, seed: int, later: int = 0) -> None:
        self.task, self.batch_size, self.later = task, batch_size, later
        self._seed = seed
        self._block = functools.lru_cache(maxsize=2)(self._new_block)

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step (from 0 on)."""
        first = step * self.batch_size
        parts = []
        for block in range(first // BLOCK, (first + self.batch_size - 1) // BLOCK + 1):
            start = max(0, first - block * BLOCK)
            parts.append(self._block(block)[start : first + self.batch_size - block * BLOCK])
        return batch_of(self.task, np.concatenate(parts), self.later)

    @functools.cached_property
    def training_set(self) -> Sequences | None:
        """The fixed set that is trained on, if there is one."""
        size = self.task.training_set
        return None if size is None else distinct(self.task, size, DATA_SEED)

    def _new_block(self, block: int) -> Sequences:
        fixed = self.training_set
        if fixed is None:
            return drawn(self.task, BLOCK, self._seed, "batches", block)
        numbers = np.arange(block * BLOCK, (block + 1) * BLOCK)
        epochs, places = np.divmod(numbers, len(fixed))
        rows = np.empty(BLOCK, dtype=np.int64)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            rows[inside] = self._order(int(epoch))[places[inside]]
        return fixed[rows]

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        assert self.training_set is not None
        generator = np.random.RandomState(np.random.MT19937(derive(self._seed, "batches", epoch)))
        return generator.permutation(len(self.training_set))


class HeldOut:
    """Sequences of a task that are never trained on, each a document of its own.

    Attributes:
        context: input tokens of a sequence.
        examples: the sequences, (count, length).

    """

    def __init__(self, task: Task, *, count: int, later: int = 0) -> None:
        self.task, self.later = task, later
        self.context = task.length - 1
        self.examples = drawn(task, count, DATA_SEED, "held out", held_out=True)

    @property
    def documents(self) -> int:
        """How many sequences there are."""
        return len(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the sequences, at most `batch_size` at a time."""
        for rows in self._rows(batch_size):
            yield batch_of(self.task, self.examples[rows], self.later)

    def documents_of(self, batch: int, batch_size: int) -> npt.NDArray[np.int64]:
        """Return the number of the sequence for each target of a batch, (batch, context)."""
        rows = self._rows(batch_size)[batch]
        return np.broadcast_to(rows[:, None], (len(rows), self.context)).astype(np.int64)

    def measures(self, player: Player) -> dict[str, float]:
        """Return what the task measures of a player, by column, the main measure first.

        Columns are ``task:NAME/accuracy`` of a share, ``task:NAME/value`` of another number, and ``task:NAME/chance``.
        """
        found = {}
        for name, measure in self.task.measure(player, self.examples).items():
            found[f"task:{name}/{'accuracy' if measure.share else 'value'}"] = measure.value
            if measure.chance is not None:
                found[f"task:{name}/chance"] = measure.chance
        return found

    def _rows(self, batch_size: int) -> list[npt.NDArray[np.int64]]:
        return np.split(np.arange(len(self)), range(batch_size, len(self), batch_size))


def batch_of(task: Task, sequences: Sequences, later: int = 0) -> Batch:
    """Return sequences as a batch; targets that are not scored are `IGNORED`."""
    targets = np.where(task.scored(sequences), sequences, IGNORED)
    after = torch.full((len(sequences), later), IGNORED) if later else None
    inputs = np.ascontiguousarray(task.read(sequences)[:, :-1])
    return Batch(torch.from_numpy(inputs), torch.from_numpy(np.ascontiguousarray(targets[:, 1:])), after)


def check_context(task: Task, context: int) -> None:
    """Refuse a context that is too short for a task.

    Raises:
        UserError: with the shortest that is long enough.

    """
    if context < task.length - 1:
        raise UserError(
            f"sequences of {task.length} tokens need a context of at least {task.length - 1}, not {context}",
            ("model", "context"),
        )


def first_scored(task: Task) -> int:
    """Return the first token, from 0, that is an answer in some sequence."""
    sequences = drawn(task, EXAMINED, DATA_SEED, "examined")
    return int(task.scored(sequences).any(axis=0).argmax())
