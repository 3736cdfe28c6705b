"""Players that say what a test lets them say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deepsight.data.player import Sequences
from deepsight.data.tasks.task import Task

Chances = npt.NDArray[np.float32]


class MadeUp:
    """Says of each prefix what a function of it says, whether it is asked for tokens or for chances.

    Args:
        say: from prefixes (sequences, time) to the chances of the next token, (sequences, vocabulary).
        know: from sequences to states, (sequences, time, width).

    """

    def __init__(
        self, say: Callable[[Sequences], npt.NDArray[Any]], know: Callable[[Sequences], Any] | None = None
    ) -> None:
        self.say, self.know = say, know

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        # Not the numbers that a test draws its sequences from.
        random = np.random.RandomState(1000 + seed)
        text = prompts
        for _ in range(count):
            chances = self.say(text)
            draws = random.random_sample((len(text), 1))
            drawn = (np.cumsum(chances, axis=1) > draws).argmax(axis=1)
            token = drawn if temperature else chances.argmax(axis=1)
            text = np.concatenate([text, token[:, None]], axis=1)
        return text[:, prompts.shape[1] :]

    def predicted(self, sequences: Sequences) -> Sequences:
        return self.probabilities(sequences).argmax(axis=2)

    def probabilities(self, sequences: Sequences) -> Chances:
        said = [self.say(sequences[:, : time + 1]) for time in range(sequences.shape[1])]
        return np.stack(said, axis=1).astype(np.float32)

    def states(self, sequences: Sequences, place: Any) -> Any:
        assert place == "decoder"
        return None if self.know is None else self.know(sequences)


def always(task: Task, *tokens: int) -> MadeUp:
    """Return a player that gives all of these tokens the same chance, whatever it has read."""
    chances = np.zeros(len(task.words))
    chances[list(tokens)] = 1 / len(tokens)
    return MadeUp(lambda prefixes: np.tile(chances, (len(prefixes), 1)))
