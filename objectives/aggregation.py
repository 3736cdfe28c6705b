"""Aggregators: the next n embeddings become one future vector.

Each is a module built with the horizon `n`; ``forward(embeddings (B, T, C)) -> (B, T - n, C)``, where row i aggregates
positions i + 1 … i + n.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from deepsight.plug_ins import aggregators

BLOCK = 64
"""Rows computed by one matrix product: the weights held are BLOCK × (BLOCK + n - 1), whatever the sequence length."""


def weighted_future(
    embeddings: Float[Tensor, "batch time width"], weights: Float[Tensor, " n"]
) -> Float[Tensor, "batch rows width"]:
    """Return Σₖ weights[k-1] · embeddings[:, i + k] for k = 1 … n, one row for each i with n positions after it.

    The sequence is cut into overlapping blocks and each is multiplied by the same small banded matrix: the cost hardly
    depends on n, and nothing of size time × time is built.
    """
    n, time = len(weights), embeddings.shape[1]
    rows = time - n
    blocks = -(-rows // BLOCK)
    padded = F.pad(embeddings[:, 1:], (0, 0, 0, max(0, blocks * BLOCK + n - time)))
    windows = padded.unfold(1, BLOCK + n - 1, BLOCK)
    row = torch.arange(BLOCK, device=weights.device)[:, None]
    offset = torch.arange(BLOCK + n - 1, device=weights.device)[None] - row
    inside = (offset >= 0) & (offset < n)
    band = torch.where(inside, weights[offset.clamp(0, n - 1)], 0.0).to(embeddings.dtype)
    return torch.matmul(band, windows.transpose(-1, -2)).flatten(1, 2)[:, :rows]


class FixedKernel(nn.Module):
    """An aggregator whose weights depend on the distance alone and are not trained."""

    weights: Tensor

    def __init__(self, weights: Float[Tensor, " n"]) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, embeddings: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch rows width"]:
        """Aggregate the n positions after each row."""
        return weighted_future(embeddings, self.weights)


def _distances(n: int) -> Float[Tensor, " n"]:
    # In float64: a model in float64 must not meet weights that were rounded to float32.
    return torch.arange(1, n + 1, dtype=torch.float64)


@aggregators.register("average", formula="F_i = (1/n) Σₖ E_{i+k}", source="the original DeepSight (2024), AVG")
class Average(FixedKernel):
    """The mean of the next n embeddings."""

    def __init__(self, n: int) -> None:
        super().__init__(torch.full_like(_distances(n), 1 / n))


@aggregators.register("decay", formula="F_i = Σₖ (1/k) E_{i+k}", source="the original DeepSight (2024), DECAY")
class Decay(FixedKernel):
    """The sum of the next n embeddings, each divided by its distance; the published choice."""

    def __init__(self, n: int) -> None:
        super().__init__(1 / _distances(n))


@aggregators.register(
    "normalized_decay",
    formula="F_i = Σₖ (1/k) E_{i+k} / Σₖ (1/k)",
    source="the original DeepSight (2024), DECAY_W_NORMALIZE",
)
class NormalizedDecay(FixedKernel):
    """The weighted mean of the next n embeddings, with weights falling as one over the distance."""

    def __init__(self, n: int) -> None:
        weights = 1 / _distances(n)
        super().__init__(weights / weights.sum())
