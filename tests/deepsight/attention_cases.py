"""Attention written out, and shapes to try it on."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

Shape = tuple[int, int, int, int, int]
"""batch, queries, keys, heads, head width"""


def naive_attention(query: Tensor, key: Tensor, value: Tensor, causal: bool = True) -> Tensor:
    """Loop over every query in float64: softmax over all keys, or those up to its own (the last at the last key)."""
    query, key, value = (tensor.double() for tensor in (query, key, value))
    output = torch.zeros_like(query)
    batch, queries, heads, width = query.shape
    ahead = key.shape[1] - queries
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = range(i + ahead + 1 if causal else key.shape[1])
                scores = [float(query[b, i, h] @ key[b, j, h]) / math.sqrt(width) for j in seen]
                weights = [math.exp(score - max(scores)) for score in scores]
                for j, weight in enumerate(weights):
                    output[b, i, h] += weight / sum(weights) * value[b, j, h]
    return output


def random_inputs(shape: Shape, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """Return query, key and value."""
    batch, queries, keys, heads, width = shape
    generator = torch.Generator().manual_seed(seed)
    sizes = [(batch, length, heads, width) for length in (queries, keys, keys)]
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes]


@st.composite
def attention_shapes(draw: st.DrawFn, causal: bool = True) -> Shape:
    """Draw a shape, with no fewer keys than queries where attention is causal."""
    queries = draw(st.integers(1, 6))
    keys = draw(st.integers(queries if causal else 1, queries + 5))
    return draw(st.integers(1, 2)), queries, keys, draw(st.integers(1, 3)), draw(st.integers(1, 17))
