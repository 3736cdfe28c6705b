"""Prediction of future representations: what a teacher makes of the tokens to come, as one vector."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from deepsight.errors import UserError
from deepsight.plug_ins import (
    AggregatorSpec,
    DistanceSpec,
    PredictorSpec,
    aggregators,
    distances,
    objectives,
    predictors,
)
from deepsight.trace import IGNORED, Place, Shape, Trace
from objectives.comparing import Comparing, Vectors
from objectives.teacher import Decay, Teacher


@objectives.register(
    "representation",
    formula="distance(predictor(h_t), aggregate of y_{t+1}…y_{t+n}), y = mean of K layers of norm(sg teacher's layer)",
    source="Baevski et al. (2022), data2vec, made causal; Grill et al. (2020), BYOL; Chen & He (2021), SimSiam",
)
class Representation(Comparing):
    """The state at t, through a predictor, is pulled towards what the teacher sees at t + 1 … t + n.

    A position's target y is the mean of the teacher's last K layers, each layer-normalised without gain. data2vec shows
    the teacher what it hides from the student; here causality hides the future from the state at t, and the teacher
    has read it. (data2vec takes the layers before their last residual branch joins; here they are the residual stream.)

    The teacher `ema` is a slow copy of the network, as in data2vec and BYOL. With `self`, as in SimSiam, it is the
    network itself behind a stop-gradient. Either way no gradient reaches the target, and only the prediction passes the
    predictor. SimSiam's experiments show that without a predictor a constant is found.

    Parameters: those of the predictor (`mlp`: 4 C²), and for `ema` a copy of the network, which is not trained.
    FLOPs a token in training: three times the predictor's (24 C² in all for `mlp`), and for `ema` one forward pass
    of the network's layers.

    Positions count whose n successors stand in the window, where x_{t+n} counts and no document ends before it. A
    position that does not count is answered by the target itself, and the mean is taken over the others: right for
    distances that compare row by row.

    Args:
        shape: of the model.
        n: horizon, in positions; by default that of `future_context`.
        teacher: `ema` or `self`.
        layers: K; all where the network has fewer. data2vec takes 8 to 10 of 12.
        aggregator: what the next n targets become.
        predictor: what the state passes.
        distance: between prediction and target.
        decay: the share of its weights that the teacher keeps at the first step.
        final_decay: the same after the ramp.
        ramp: share of the training steps over which the one becomes the other, in a straight line.

    Raises:
        UserError: the context (or, later, a window) has no position with n successors.

    """

    attach: ClassVar[Place | None] = "decoder"

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 11,
        teacher: Literal["ema", "self"] = "ema",
        layers: Annotated[int, Field(ge=1)] = 8,
        aggregator: AggregatorSpec = "average",
        predictor: PredictorSpec = "mlp",
        distance: DistanceSpec = "smooth_l1",
        decay: Decay = 0.999,
        final_decay: Decay = 0.9999,
        ramp: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1,
    ) -> None:
        super().__init__()
        if n >= shape.context:
            raise UserError(f"the horizon {n} needs a context longer than {shape.context}", ("n",))
        self.horizon = self.n = n
        self.layers = layers
        self.decay, self.final_decay, self.ramp = decay, final_decay, ramp
        self.teacher = Teacher(decay) if teacher == "ema" else None
        self.aggregator = aggregators.build(aggregator, n=n, width=shape.width, shape=shape)
        self.predictor = predictors.build(predictor, width=shape.width, target_width=shape.width)
        self.distance = distances.build(distance)

    def progress(self, share: float) -> None:
        """Set the teacher's decay for the step that follows."""
        if self.teacher is not None:
            done = 1.0 if share >= self.ramp else share / self.ramp
            self.teacher.decay = self.decay + done * (self.final_decay - self.decay)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the distance over the positions that count."""
        prediction, target = self.sides(trace)
        counts = (trace.ahead(self.n)[:, : target.shape[1]] != IGNORED)[..., None]
        loss = self.disagreement(torch.where(counts, prediction, target), target)
        return {"loss": loss * counts.numel() / counts.sum().clamp_min(1)}

    def sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return prediction and target, one row for each position with n successors."""
        rows = trace.tokens.shape[1] - self.n
        if rows < 1:
            raise UserError(f"the horizon {self.n} needs a window longer than {trace.tokens.shape[1]}", ("n",))
        target = self.aggregator(self._seen_by_teacher(trace), trace.tokens)
        return self.predictor(trace.attached[:, :rows]), target

    def _seen_by_teacher(self, trace: Trace) -> Float[Tensor, "batch time width"]:
        """Return the mean of the last normalised layers at each position."""
        source = trace if self.teacher is None else self.teacher.beside(trace)
        chosen = source.layers[-self.layers :]
        return torch.stack([F.layer_norm(layer.detach(), layer.shape[-1:]) for layer in chosen]).mean(dim=0)
