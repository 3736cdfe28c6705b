"""A player that knows the rules of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepsight.data.player import Sequences
from deepsight.data.tasks.task import Task
from deepsight.random_streams import derive


class Solver:
    """Answers with a task's `next_tokens`; it has no states.

    Args:
        task: whose rules it knows.
        seed: of its choices where several tokens are right.

    """

    def __init__(self, task: Task, seed: int = 0) -> None:
        self.task = task
        self._random = np.random.RandomState(np.random.MT19937(derive(seed, "solver")))

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        """Return the right `count` tokens after each prompt, (sequences, count)."""
        known = np.array(prompts)
        for _ in range(count):
            known = np.concatenate([known, self.task.next_tokens(known, self._random)[:, None]], axis=1)
        return known[:, prompts.shape[1] :]

    def predicted(self, sequences: Sequences) -> Sequences:
        """Return the right next token after each token that a scored one may follow; elsewhere 0, (sequences, time)."""
        found = np.zeros_like(sequences)
        scored: npt.NDArray[np.bool_] = np.any(self.task.scored(np.pad(sequences, ((0, 0), (0, 1)))), axis=0)
        for time in range(sequences.shape[1]):
            if scored[time + 1]:
                found[:, time] = self.task.next_tokens(sequences[:, : time + 1], self._random)
        return found

    def probabilities(self, sequences: Sequences) -> npt.NDArray[np.float32]:
        """Return chance 1 for the right next token, (sequences, time, vocabulary)."""
        chances: npt.NDArray[np.float32] = np.eye(len(self.task.words), dtype=np.float32)[self.predicted(sequences)]
        return chances

    def states(self, sequences: Sequences, place: Any) -> None:
        """Return None: it has no states."""
