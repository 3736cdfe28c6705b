"""Aggregators that weigh the next n embeddings by which tokens they belong to."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.objective import Preparation
from deepsight.plug_ins import aggregators
from deepsight.trace import IGNORED, Shape
from objectives.aggregation import weighted_future


@aggregators.register(
    "idf",
    formula="F_i = Σₖ r(x_{i+k}) E_{i+k} / Σₖ r(x_{i+k}), r(v) = -log((count(v) + 1) / Σ_u (count(u) + 1))",
    source="this project, after Spärck Jones (1972)",
)
class RarityWeighted(nn.Module):
    """The mean of the next n embeddings, rare tokens counting more than common ones.

    A token's weight is its surprisal in nats under the counts of the training split, one added to each. Before
    `prepare` has given the counts, all tokens weigh the same.
    """

    rarity: Tensor

    def __init__(self, n: int, shape: Shape) -> None:
        super().__init__()
        self.n = n
        uniform = torch.full((shape.vocabulary,), math.log(max(2, shape.vocabulary)), dtype=torch.float64)
        self.register_buffer("rarity", uniform)

    def prepare(self, preparation: Preparation) -> None:
        """Count the tokens of the training split."""
        smoothed = preparation.count_tokens().to(self.rarity) + 1
        self.rarity = -torch.log(smoothed / smoothed.sum())

    def forward(
        self, embeddings: Float[Tensor, "batch time width"], tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch rows width"]:
        """Aggregate the n positions after each row; one past the end of the text weighs nothing."""
        known = tokens != IGNORED
        weights = (self.rarity[tokens.where(known, 0)] * known).to(embeddings.dtype)[..., None]
        ones = torch.ones(self.n, device=embeddings.device, dtype=torch.float64)
        total = weighted_future(weights, ones)
        return weighted_future(weights * embeddings, ones) / total.clamp_min(torch.finfo(total.dtype).tiny)
