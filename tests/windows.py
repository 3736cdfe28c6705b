"""Windows of a short random text with documents and a prompt, and what follows each position, by a plain loop."""

from __future__ import annotations

import torch
from torch import Tensor

from deepsight.trace import IGNORED, Trace

END = 0
"""The token that ends a document."""


def random_text(batch: int, length: int, vocabulary: int, seed: int) -> Tensor:
    return torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(seed))


def random_states(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def window_of(text: Tensor, time: int, states: Tensor, unembedding: Tensor) -> Trace:
    """Return the trace of a text's first tokens; what is past the last target is `later`."""
    targets = text[:, 1 : time + 1].clone()
    later = text[:, time + 1 :] if text.shape[1] > time + 1 else None
    return Trace(text[:, :time], targets, states, states, states, unembedding, later=later, end_of_text=END)


def following(text: Tensor, trace: Trace, row: int, t: int, first: int, last: int) -> list[tuple[int, int]]:
    """Return (d, x_{t+d}) for each d from first to last whose token counts as a target at position t."""
    tokens, targets, found = text[row].tolist(), trace.targets[row].tolist(), []
    for d in range(first, last + 1):
        there = t + d
        in_prompt = there <= len(targets) and targets[there - 1] == IGNORED
        if there < len(tokens) and not in_prompt and END not in tokens[t + 1 : there]:
            found.append((d, tokens[there]))
    return found
