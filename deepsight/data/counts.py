"""How often each token stands in a corpus."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from deepsight.data.packed import PackedCorpus

TOKENS_AT_ONCE = 1 << 22


def token_counts(corpus: PackedCorpus) -> Int[Tensor, " vocabulary"]:
    """Return the number of times each token id stands in the training split."""
    counts = np.zeros(corpus.vocabulary, dtype=np.int64)
    for start in range(0, len(corpus.train), TOKENS_AT_ONCE):
        counts += np.bincount(corpus.train[start : start + TOKENS_AT_ONCE], minlength=corpus.vocabulary)
    return torch.from_numpy(counts)
