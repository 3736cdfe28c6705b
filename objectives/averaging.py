"""A mean over the positions that count, which is zero and differentiable where none does."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mean_where(values: Float[Tensor, ...], counts: Bool[Tensor, ...]) -> Float[Tensor, ""]:
    """Return the mean of the values that count; zero, with zero gradients, where none counts."""
    return torch.where(counts, values, 0.0).sum() / counts.sum().clamp_min(1)
