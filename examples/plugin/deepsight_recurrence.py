"""An objective and an aggregator that any study can use once this package is installed."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.layers import Linear
from deepsight.trace import IGNORED, Shape, Trace
from objectives import Objective, aggregators, objectives


@objectives.register(
    "recurrence", formula="BCE(σ(w·h_t), 1 if x_t is in x_{t+1} … x_{t+n})", source="this example, after no paper"
)
class Recurrence(Objective):
    """Foretells from the state whether the present token comes again among the next n.

    Args:
        shape: of the model.
        n: how many tokens ahead count.

    """

    attach = "decoder"

    def __init__(self, shape: Shape, n: Annotated[int, Field(ge=1)] = 8) -> None:
        super().__init__()
        self.n = n
        # The first of the n tokens is the next-token target itself.
        self.lookahead = n - 1
        self.head = Linear(shape.width, 1)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the loss, and how many tokens come again: what a constant guess could reach."""
        ahead = torch.stack([trace.ahead(k) for k in range(1, self.n + 1)])
        present = trace.tokens[:, -ahead.shape[2] :]
        comes_again = (ahead == present).any(dim=0)
        # A position counts where at least the next token does.
        counts = ahead[0] != IGNORED
        scores = self.head(trace.attached)[..., 0]
        losses = F.binary_cross_entropy_with_logits(scores, comes_again.to(scores.dtype), reduction="none")
        total = counts.sum().clamp_min(1)
        return {"loss": (losses * counts).sum() / total, "share": (comes_again & counts).sum() / total}


@aggregators.register("first_and_last", formula="F_i = (E_{i+1} + E_{i+n}) / 2", source="this example, after no paper")
class FirstAndLast(nn.Module):
    """The mean of the nearest and the furthest of the next n embeddings."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(
        self, embeddings: Float[Tensor, "batch time width"], tokens: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch rows width"]:
        """Aggregate the n positions after each row."""
        rows = embeddings.shape[1] - self.n
        return (embeddings[:, 1 : rows + 1] + embeddings[:, self.n :]) / 2
