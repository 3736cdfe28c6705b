"""The published future loss: the encoder output is pulled towards a summary of what comes."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.plug_ins import (
    AggregatorSpec,
    DistanceSpec,
    MergeSpec,
    NormaliserSpec,
    PredictorSpec,
    TargetSpec,
    aggregators,
    distances,
    merges,
    normalisers,
    objectives,
    predictors,
    targets,
)
from deepsight.trace import Shape, Trace
from objectives.comparing import Comparing, optional_norm
from objectives.present import present_context
from objectives.target_vectors import tokens_with_later

Vectors = Float[Tensor, "batch rows width"]


@objectives.register(
    "future_context",
    formula="distance(norm(H_i), norm(merge(mean E_1…E_i, aggregate E_{i+1}…E_{i+n})))",
    source="the original DeepSight (2024)",
)
class FutureContext(Comparing):
    """Distance between the encoder output at i and a merge of the present with the next n embeddings.

    The target's vectors (published: token + position embeddings, after dropout) are detached: only the prediction's
    side learns from this loss, and the norms on both sides. With gains on both norms (`norm_affine`), as published, the
    loss can be lowered by shrinking both gains, and it is; see the diagnostics. What avoids it: `norm_affine: false`, a
    `normaliser`, or one of the distances `info_nce`, `vicreg`, `barlow` and `correlation`. A `predictor` or a teacher
    as `target` do not as long as the target's norm has a gain, nor does `cosine`, which that norm's bias satisfies.

    Args:
        shape: of the model.
        n: horizon, in positions.
        target: the vectors that are aggregated.
        aggregator: what the next n vectors become.
        merge: how present and future join.
        norm: of the target: `before` aggregating, `after` merging, `both`, or `none`. The prediction is always normed.
        norm_affine: whether the norms have a trainable gain and bias.
        normaliser: what the finished target passes.
        predictor: what the normed state passes.
        distance: between prediction and target.
        window: `trim`, as published, leaves out positions without n successors in the window; `extend` reads the n
            tokens past it too, which needs rotary positions, or a target without positions.

    Raises:
        UserError: the context (or, later, a window) has no position with n successors; or the window is extended and
            the target has no vectors past it.

    """

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 11,
        target: TargetSpec = "input_embeddings",
        aggregator: AggregatorSpec = "decay",
        merge: MergeSpec = "equal",
        norm: Literal["none", "before", "after", "both"] = "after",
        norm_affine: bool = True,
        normaliser: NormaliserSpec = "none",
        predictor: PredictorSpec = "none",
        distance: DistanceSpec = "mse",
        window: Literal["trim", "extend"] = "trim",
    ) -> None:
        super().__init__()
        if window == "trim" and n >= shape.context:
            raise UserError(f"the horizon {n} needs a context longer than {shape.context}", ("n",))
        self.horizon = self.n = n
        self.beyond = n if window == "extend" else 0
        # The first token past the window is the last target.
        self.lookahead = max(0, self.beyond - 1)
        self.target = targets.build(target, shape=shape)
        if self.beyond and getattr(self.target, "inside_only", False):
            name = targets.resolve(target)["name"]
            lacks = f"the target {name!r} has no vectors of tokens past the window of a model with {shape.positions}"
            raise UserError(f"{lacks} positions: choose trim, or the target token_embeddings", ("window",))
        width: int = self.target.width
        self.aggregator = aggregators.build(aggregator, n=n, width=width, shape=shape)
        self.merge = merges.build(merge)
        self.predictor = predictors.build(predictor, width=shape.width, target_width=width)
        self.normaliser = normalisers.build(normaliser, width=width)
        self.distance = distances.build(distance)
        self.encoder_norm = optional_norm(True, shape.width, norm_affine)
        self.embedding_norm = optional_norm(norm in ("before", "both"), width, norm_affine)
        self.context_norm = optional_norm(norm in ("after", "both"), width, norm_affine)

    def prediction_norms(self) -> list[nn.Module]:
        """Return the norm of the state."""
        return [self.encoder_norm]

    def target_norms(self) -> list[nn.Module]:
        """Return the norms before aggregating and after merging."""
        return [self.embedding_norm, self.context_norm]

    def sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return prediction and target, one row for each position with n successors."""
        vectors = self.embedding_norm(self.target(trace, self.beyond))
        rows = vectors.shape[1] - self.n
        if rows < 1:
            raise UserError(f"the horizon {self.n} needs a window longer than {vectors.shape[1]}", ("n",))
        present = present_context(vectors[:, :rows])
        future = self.aggregator(vectors, tokens_with_later(trace, self.beyond))
        merged = self.merge(present=present, future=future, n=self.n)
        prediction = self.predictor(self.encoder_norm(trace.attached[:, :rows]))
        return prediction, self.normaliser(self.context_norm(merged))
