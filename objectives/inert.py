"""Nothing, as an objective: what an A/A control has beside the reference."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from deepsight.layers import Linear
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import Place, Shape, Trace

DROPOUT = 0.5


@objectives.register(
    "inert",
    formula="0",
    source="A/A test: an arm that equals its reference, to see what a comparison takes for a difference",
)
class Inert(Objective):
    """Nothing is learned from it: it does all that an objective may do beside the network, and its loss is zero.

    It owns parameters, draws random numbers where it is built and at every step, and records a metric. The loss is a
    constant without a gradient, so neither the network nor its own parameters receive one. A run with it and the same
    run without it must be bit-equal in all that both record; where they are not, more has moved than what is compared.

    Parameters: C² + C. FLOPs a token in training: 2 C².

    Args:
        shape: of the model.

    """

    attach: ClassVar[Place | None] = None
    inert: ClassVar[bool] = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.map = Linear(shape.width, shape.width)
        self.scale = nn.Parameter(torch.rand(shape.width))
        self.dropout = nn.Dropout(DROPOUT)

    @torch.no_grad()
    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return zero, and as a metric the mean square of what its module makes of the last state and of noise."""
        state = trace.decoder_output.detach()
        made = self.dropout(self.map(state + torch.rand_like(state)) * self.scale)
        return {"loss": state.new_zeros(()), "activity": made.float().square().mean()}
