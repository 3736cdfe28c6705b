"""Losses of token distributions that stay finite where nothing counts, and never hold all logits at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deepsight.loss import ROWS_AT_ONCE, linear_cross_entropy
from deepsight.trace import IGNORED

Scalar = Float[Tensor, ""]


def token_loss(
    hidden: Float[Tensor, "*positions width"],
    weight: Float[Tensor, "vocabulary width"],
    targets: Int[Tensor, "*positions"],
) -> Scalar:
    """Return the mean cross-entropy over the positions that count, in nats; zero where none does."""
    flat = targets.flatten()
    counts = (flat != IGNORED).any()
    # Where nothing counts a mean would be 0/0, in the gradient too: any token will do, multiplied by zero.
    return linear_cross_entropy(hidden.flatten(0, -2), weight, flat.where(counts, 0)) * counts


def linear_divergence(
    predicted: Float[Tensor, "positions width"],
    target: Float[Tensor, "positions width"],
    weight: Float[Tensor, "vocabulary width"],
    counted: Bool[Tensor, " positions"],
) -> Scalar:
    """Return the mean of KL(softmax(W target) ‖ softmax(W predicted)) over the positions that count, in nats.

    Position chunk by position chunk, so that only a chunk's logits are held; zero where no position counts.
    """
    total = predicted.new_zeros((), dtype=torch.promote_types(predicted.dtype, torch.float32))
    parts = (torch.split(part, ROWS_AT_ONCE) for part in (predicted, target, counted))
    for rows in zip(*parts, strict=True):
        # Nothing random is computed again, so no generator state needs keeping.
        total = total + checkpoint(_summed, *rows, weight, use_reentrant=False, preserve_rng_state=False)
    return total / counted.sum().clamp_min(1)


def _summed(predicted: Tensor, target: Tensor, counted: Tensor, weight: Tensor) -> Tensor:
    wide = torch.promote_types(predicted.dtype, torch.float32)
    said, true = (F.log_softmax((state @ weight.T).to(wide), dim=-1) for state in (predicted, target))
    divergence = F.kl_div(said, true, reduction="none", log_target=True).sum(dim=-1)
    return (divergence * counted).sum()
