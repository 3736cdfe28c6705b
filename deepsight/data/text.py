"""A packed corpus as what a run learns from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Int
from torch import Tensor

from deepsight.data.batches import Batches, ValidationWindows
from deepsight.data.counts import token_counts
from deepsight.data.packed import PackedCorpus
from deepsight.data.source import Source
from deepsight.data.tokenizers import Tokenizer


class TextSource(Source):
    """Running text: windows of a packed corpus.

    Attributes:
        corpus: the packed corpus.

    """

    def __init__(self, corpus: PackedCorpus) -> None:
        self.corpus = corpus
        self.vocabulary = corpus.vocabulary
        self.digest = corpus.digest

    def batches(self, *, context: int, batch_size: int, seed: int, later: int = 0) -> Batches:
        """Return the training batches of one seed."""
        return Batches(self.corpus.train, context=context, batch_size=batch_size, seed=seed, later=later)

    def windows(self, *, context: int, count: int | None = None, later: int = 0) -> ValidationWindows:
        """Return windows spread evenly over the validation split; all there are where `count` is None."""
        end = self.corpus.end_of_text
        return ValidationWindows(self.corpus.validation, context=context, count=count, later=later, end_of_text=end)

    def token_counts(self) -> Int[Tensor, " vocabulary"]:
        """Return how often each token id stands in the training split."""
        return token_counts(self.corpus)

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return the number of bytes of text that each id stands for, (vocabulary,)."""
        return self.corpus.token_bytes

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that the tokens were made with."""
        return self.corpus.tokenizer()

    def describe(self) -> str:
        """Return the size in one line."""
        return self.corpus.describe()
