"""Objectives that pull a prediction towards a target: what they have in common, and what they show of themselves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.objective import Objective
from deepsight.trace import Place, Trace
from objectives.diagnostics import effective_rank, mean_cosine, mean_gain, mean_variance, smallest_variance

Vectors = Float[Tensor, "batch rows width"]
Scalar = Float[Tensor, ""]


class Comparing(Objective):
    """An objective whose loss is the distance between two sides, each (B, P, D).

    A subclass sets `distance`, gives the two sides, and names the norms of each, whose gains are recorded. What a part
    of it says in a ``diagnostics()`` of its own is recorded too, after the part's name.
    """

    attach: ClassVar[Place | None] = "encoder"
    distance: Callable[..., Tensor]

    @abstractmethod
    def sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return prediction and target, row by row."""

    def prediction_norms(self) -> list[nn.Module]:
        """Return the norms that the prediction passes."""
        return []

    def target_norms(self) -> list[nn.Module]:
        """Return the norms that the target passes."""
        return []

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the distance between the two sides."""
        prediction, target = self.sides(trace)
        return {"loss": self.disagreement(prediction, target)}

    def disagreement(self, prediction: Tensor, target: Tensor) -> Scalar:
        """Return the distance in at least float32, autocast or not: statistics over a batch need the digits.

        Raises:
            UserError: the two sides differ in shape.

        """
        if prediction.shape != target.shape:
            shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
            raise UserError(f"prediction and target must have one shape, not {shapes}")
        with torch.autocast(prediction.device.type, enabled=False):
            sides = (side.to(torch.promote_types(side.dtype, torch.float32)) for side in (prediction, target))
            return self.distance(**dict(zip(("prediction", "target"), sides, strict=True)))

    @torch.no_grad()
    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        """Return what shows a collapse: gain, variance, effective rank and mean cosine of both sides.

        Also `loss_over_trivial`: the loss over that of the trivial predictor, which says the same everywhere. It is
        about 1 where nothing has been learned.
        """
        prediction, target = self.sides(trace)
        found = {
            "prediction_gain": mean_gain(_layer_norms(self.prediction_norms())),
            "target_gain": mean_gain(_layer_norms(self.target_norms())),
            "loss_over_trivial": self._over_trivial(prediction, target),
        }
        for side, vectors in (("prediction", prediction), ("target", target)):
            found[f"{side}_variance"] = mean_variance(vectors)
            found[f"{side}_smallest_variance"] = smallest_variance(vectors)
            found[f"{side}_effective_rank"] = effective_rank(vectors)
            found[f"{side}_mean_cosine"] = mean_cosine(vectors)
        for name, part in self.named_children():
            if not isinstance(part, Objective) and callable(own := getattr(part, "diagnostics", None)):
                found.update({f"{name}_{key}": value for key, value in own().items()})
        return {name: value for name, value in found.items() if value is not None}

    def _over_trivial(self, prediction: Vectors, target: Vectors) -> Scalar:
        """Return the loss over the smaller one of two constant predictions: the mean target, and zero.

        The mean is the best constant for squared errors, and nearly so for cosines. Zero is for InfoNCE, in whose
        scores it is equal to all targets: its loss is the logarithm of their number, which no constant undercuts.
        For VICReg the mean pays for its lack of variance; for Barlow twins and the correlation every constant is worth
        the same, D and 1.
        """
        loss = self.disagreement(prediction, target)
        mean = target.flatten(0, 1).mean(dim=0).expand_as(target)
        trivial = torch.minimum(*(self.disagreement(constant, target) for constant in (mean, torch.zeros_like(target))))
        return loss / trivial.abs().clamp_min(torch.finfo(trivial.dtype).tiny)


def optional_norm(present: bool, width: int, affine: bool) -> nn.Module:
    """Return a norm, with or without a trainable gain and bias; what does nothing where none is wanted."""
    return nn.LayerNorm(width, elementwise_affine=affine) if present else nn.Identity()


def _layer_norms(norms: list[nn.Module]) -> list[nn.LayerNorm]:
    return [norm for norm in norms if isinstance(norm, nn.LayerNorm)]
