"""What a planning task is: sequences, the part of them that is the answer, a measure with its chance, and a solver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from deepsight.data.player import Player, Sequences

Scored: TypeAlias = npt.NDArray[np.bool_]
"""Which tokens of sequences are part of the answer, (sequences, time)."""
Keys: TypeAlias = npt.NDArray[np.uint64]


@runtime_checkable
class Draws(Protocol):
    """Where random numbers come from: the one method of numpy's RandomState whose numbers never change."""

    def random_sample(self, size: int | tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return numbers in [0, 1) of a shape."""
        ...


@dataclass(frozen=True)
class Measure:
    """One number that a task measures.

    Attributes:
        value: of the player.
        chance: what blind guessing gives, as the task counts it; None where there is no such number.
        share: whether it is a share from 0 to 1 of which more is an accuracy, such as 0.95 of the paths.

    """

    value: float
    chance: float | None = None
    share: bool = True


class Task(ABC):
    """Sequences of one length whose answer is known.

    A task of your own derives from this class and is registered with ``@tasks.register("name")``
    (`deepsight.plug_ins.tasks`); its typed constructor parameters are what a configuration may give. Equal parameters
    give equal sequences, on every machine.

    Attributes:
        words: the text of each token id, all different, without spaces.
        length: tokens of a sequence.
        answer_length: the most tokens of a sequence that count; an objective that looks further has nothing to find.
        training_set: how many sequences are trained on; None draws new ones for every batch.

    """

    version: ClassVar[int] = 1
    """Raised when equal parameters give other sequences."""

    held_out: ClassVar[int] = 16
    """One in so many of what `keys` tells apart is never trained on, and measured."""

    held_out_told: ClassVar[str] = "one in 16 of the kinds"
    """How people are told what is held out."""

    words: tuple[str, ...]
    length: int
    answer_length: int
    training_set: int | None = None

    @abstractmethod
    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences from all that there are, (count, length), drawn at once and not one by one."""

    @abstractmethod
    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens are the answer; no other counts in a token-level loss of any objective."""

    @abstractmethod
    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return the right next token of each prefix, (sequences,); where several are right, one of them."""

    @abstractmethod
    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return what a player is worth by name (letters, digits and _), the main measure first.

        Args:
            player: who answers.
            examples: sequences that are not trained on.

        """

    def keys(self, sequences: Sequences) -> Keys:
        """Return a number for each sequence by which it belongs to training or to measuring, (sequences,).

        Sequences that have the same answer for the same reason should have the same number.
        """
        return mixed(sequences)

    def read(self, sequences: Sequences) -> Sequences:
        """Return what a network reads in place of these sequences, where a control hides some of it."""
        return sequences

    def rendered(self, sequence: Sequences) -> str:
        """Return one sequence as people read it, (time,) → text."""
        return " ".join(self.words[token] for token in sequence)


def mixed(columns: npt.NDArray[np.int64]) -> Keys:
    """Return a well-mixed 64-bit number for each row, (rows, columns) → (rows,): equal rows, equal numbers.

    Each column passes the finaliser of SplitMix64 (Steele, Lea & Flood, 2014).
    """
    mixture = np.full(columns.shape[0], 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns.T.astype(np.uint64):
        mixture = (mixture ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixture = (mixture ^ (mixture >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixture = (mixture ^ (mixture >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixture = mixture ^ (mixture >> np.uint64(31))
    return mixture


def permutations(random: Draws, count: int, size: int) -> npt.NDArray[np.int64]:
    """Return random orders of 0 … size - 1, (count, size)."""
    return np.argsort(random.random_sample((count, size)), axis=1)


def integers(random: Draws, shape: int | tuple[int, ...], below: int) -> npt.NDArray[np.int64]:
    """Return random whole numbers from 0 to below - 1."""
    return (random.random_sample(shape) * below).astype(np.int64)
