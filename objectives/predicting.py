"""Predictors: what the network's state passes on the prediction's side before it meets the target.

Each is a module built with the state's `width` and the target's `target_width`:
``(B, P, width) -> (B, P, target_width)``. The target's side has none and carries no gradient to the network, so that
the predictor, and not the target, moves (Grill et al., 2020; Chen & He, 2021); a trained norm on the target's side
moves all the same.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.layers import Linear
from deepsight.plug_ins import predictors

States = Float[Tensor, "batch rows width"]
Predictions = Float[Tensor, "batch rows target_width"]


@predictors.register("none", formula="p = h", source="the original DeepSight (2024)")
class NoPredictor(nn.Module):
    """The state itself; the published choice. Needs a target as wide as the network."""

    def __init__(self, width: int, target_width: int) -> None:
        super().__init__()
        if width != target_width:
            raise UserError(
                f"this target is {target_width} wide and the network {width}: choose the predictor linear or mlp",
                ("predictor",),
            )

    def forward(self, states: States) -> Predictions:
        """Return what is given."""
        return states


@predictors.register("linear", formula="p = W h", source="this project")
class LinearPredictor(Linear):
    """One linear map without bias."""

    def __init__(self, width: int, target_width: int) -> None:
        super().__init__(width, target_width)


@predictors.register(
    "mlp", formula="p = W₂ gelu(W₁ h)", source="Grill et al. (2020), BYOL's predictor without batch norm"
)
class MlpPredictor(nn.Module):
    """Two linear maps with a GELU between them, `expansion` times as wide inside."""

    def __init__(self, width: int, target_width: int, expansion: Annotated[int, Field(ge=1)] = 2) -> None:
        super().__init__()
        self.expand = Linear(width, expansion * width)
        self.output = Linear(expansion * width, target_width)

    def forward(self, states: States) -> Predictions:
        """Transform each row by itself."""
        output: Tensor = self.output(F.gelu(self.expand(states)))
        return output
