"""What a run learns from: batches to train on, windows to measure on, and what names them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from jaxtyping import Int
from torch import Tensor

from deepsight.data.batches import Batch
from deepsight.data.player import Player
from deepsight.data.tokenizers import Tokenizer

Places = npt.NDArray[np.int64]
BatchOfStep = Callable[[int], Batch]
"""The batch of a step, from 0 on: a pure function of it."""


@runtime_checkable
class Windows(Protocol):
    """Fixed sequences to measure on, the same for every arm.

    Attributes:
        context: input tokens of a sequence.

    """

    context: int

    @property
    def documents(self) -> int:
        """How many documents the sequences belong to."""
        ...

    def __len__(self) -> int:
        """Return the number of sequences."""
        ...

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the sequences, at most `batch_size` at a time."""
        ...

    def documents_of(self, batch: int, batch_size: int) -> Places:
        """Return the document of each target of a batch (counted from 0), (batch, context)."""
        ...

    def measures(self, player: Player) -> dict[str, float]:
        """Return what is measured of a network on these sequences beside its losses, by column."""
        ...


class Source(ABC):
    """The tokens of a run, of whatever kind.

    Attributes:
        vocabulary: number of token ids.
        digest: SHA-256 (64 hexadecimal digits) of the content: equal tokens in an equal order for every seed.

    """

    vocabulary: int
    digest: str

    @abstractmethod
    def batches(self, *, context: int, batch_size: int, seed: int, later: int = 0) -> BatchOfStep:
        """Return the training batches of one seed.

        Args:
            context: most input tokens of a sequence.
            batch_size: sequences in a batch.
            seed: of the run.
            later: tokens given beside each sequence, after its last target.

        Raises:
            UserError: there are too few tokens, or the context is too short.

        """

    @abstractmethod
    def windows(self, *, context: int, count: int | None = None, later: int = 0) -> Windows:
        """Return `count` sequences to measure on, none of which is trained on; None leaves the number to the source.

        Raises:
            UserError: there are too few tokens, or the context is too short.

        """

    @abstractmethod
    def token_counts(self) -> Int[Tensor, " vocabulary"]:
        """Return how often each token id stands in what is trained on, or in a sample of it."""

    @abstractmethod
    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return the number of bytes of text that each id stands for, (vocabulary,); zeros where there is no text."""

    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """Return what turns text into these tokens and back."""

    @abstractmethod
    def describe(self) -> str:
        """Return what there is, in one line."""
