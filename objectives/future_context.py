"""The published future loss: the encoder output is pulled towards a summary of what comes."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.plug_ins import (
    AggregatorSpec,
    DistanceSpec,
    MergeSpec,
    aggregators,
    distances,
    merges,
    objectives,
)
from deepsight.trace import Shape, Trace
from objectives.diagnostics import effective_rank, mean_gain, mean_variance

Vectors = Float[Tensor, "batch rows width"]


@objectives.register(
    "future_context",
    formula="distance(norm(H_i), norm(merge(mean E_1…E_i, aggregate E_{i+1}…E_{i+n})))",
    source="the original DeepSight (2024)",
)
class FutureContext(nn.Module):
    """Distance between the encoder output at i and a merge of the present with the next n embeddings.

    The embeddings (tokens + positions, after dropout) are detached: only the prediction's side learns from this loss,
    and the norms on both sides. Positions without n successors in the window do not count. With gains on both norms
    (`norm_affine`), as published, the loss can be lowered by shrinking both gains, and it is; see the diagnostics.

    Args:
        shape: of the model.
        n: horizon, in positions.
        aggregator: what the next n embeddings become.
        merge: how present and future join.
        norm: of the target: `before` aggregating, `after` merging, `both`, or `none`. The prediction is always normed.
        norm_affine: whether the norms have a trainable gain and bias.
        distance: between prediction and target.

    Raises:
        UserError: the context (or, later, a window) has no position with n successors.

    """

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 11,
        aggregator: AggregatorSpec = "decay",
        merge: MergeSpec = "equal",
        norm: Literal["none", "before", "after", "both"] = "after",
        norm_affine: bool = True,
        distance: DistanceSpec = "mse",
    ) -> None:
        super().__init__()
        if n >= shape.context:
            raise UserError(f"the horizon {n} needs a context longer than {shape.context}", ("n",))
        self.n = n
        self.aggregator = aggregators.build(aggregator, n=n)
        self.merge = merges.build(merge)
        self.distance = distances.build(distance)

        def norm_or_nothing(present: bool) -> nn.Module:
            return nn.LayerNorm(shape.width, elementwise_affine=norm_affine) if present else nn.Identity()

        self.encoder_norm = norm_or_nothing(True)
        self.embedding_norm = norm_or_nothing(norm in ("before", "both"))
        self.context_norm = norm_or_nothing(norm in ("after", "both"))

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the loss over the positions that have n successors."""
        prediction, target = self._sides(trace)
        return {"loss": self.distance(prediction=prediction, target=target)}

    @torch.no_grad()
    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        """Return gain, variance and effective rank of both sides: a collapse shows as gains and variances near zero."""
        prediction, target = self._sides(trace)
        target_norms = [self.embedding_norm, self.context_norm]
        found = {
            "prediction_gain": mean_gain([self.encoder_norm] if isinstance(self.encoder_norm, nn.LayerNorm) else []),
            "target_gain": mean_gain([norm for norm in target_norms if isinstance(norm, nn.LayerNorm)]),
            "prediction_variance": mean_variance(prediction),
            "target_variance": mean_variance(target),
            "prediction_effective_rank": effective_rank(prediction),
            "target_effective_rank": effective_rank(target),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return prediction and target, one row for each position with n successors."""
        embeddings = self.embedding_norm(trace.input_embeddings.detach())
        rows = embeddings.shape[1] - self.n
        if rows < 1:
            raise UserError(f"the horizon {self.n} needs a window longer than {embeddings.shape[1]}", ("n",))
        read = torch.arange(1, rows + 1, device=embeddings.device, dtype=embeddings.dtype)[:, None]
        present = embeddings[:, :rows].cumsum(dim=1) / read
        merged = self.merge(present=present, future=self.aggregator(embeddings), n=self.n)
        return self.encoder_norm(trace.encoder_output[:, :rows]), self.context_norm(merged)
