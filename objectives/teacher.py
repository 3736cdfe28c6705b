"""A teacher: a second copy of the network that follows the first slowly and is never trained."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, cast

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.trace import Place, Shape, Trace

TeacherPlace = (
    Literal["encoder", "decoder"] | Annotated[dict[Literal["layer"], Annotated[int, Field(ge=1)]], Field(min_length=1)]
)
"""Which state of the teacher is read: "encoder", "decoder", or {"layer": k}, counted from 1."""

Decay = Annotated[float, Field(ge=0.0, le=1.0)]
"""The share of its own weights that a teacher keeps at each step."""


def checked_place(place: TeacherPlace, shape: Shape) -> Place:
    """Return the place.

    Raises:
        UserError: the network has no such layer.

    """
    if isinstance(place, dict) and place["layer"] > shape.layers:
        raise UserError(f"there is no layer {place['layer']}; the network has {shape.layers}", ("place", "layer"))
    return cast(Place, place)


class Teacher(nn.Module):
    """An exponential moving average (EMA) of the network: θ' ← decay · θ' + (1 - decay) · θ after each optimiser step.

    It starts as a copy of the network (made in `prepare`), runs without dropout and gives no gradients. As a part of an
    objective it is saved with it and counted as used in training only (Tarvainen & Valpola, 2017; Grill et al., 2020).

    Args:
        decay: 0 copies the network at every step, 1 keeps the initial weights for good.

    """

    network: Architecture | None

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.network = None

    def prepare(self, preparation: Preparation) -> None:
        """Take the network's initial weights."""
        model = preparation.model
        # Tensors without storage, on which costs are counted, cannot be deep-copied, but cloned.
        known: dict[int, Any] = {id(buffer): buffer.clone() for buffer in model.buffers()}
        for weight in model.parameters():
            known[id(weight)] = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.network = copy.deepcopy(model, known).eval()

    @torch.no_grad()
    def after_step(self, model: Architecture) -> None:
        """Move a little towards the network's present weights."""
        network = self._prepared()
        for mine, theirs in zip(network.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - self.decay)
        for kept, new in zip(network.buffers(), model.buffers(), strict=True):
            kept.copy_(new)

    @torch.no_grad()
    def trace(self, tokens: Int[Tensor, "batch time"], targets: Int[Tensor, "batch time"]) -> Trace:
        """Run the teacher on a whole window and return what it leaves, without gradients."""
        trace: Trace = self._prepared()(tokens, targets)
        return trace

    def beside(self, trace: Trace) -> Trace:
        """Run the teacher on the window that left a trace, and return what it leaves at the same positions."""
        if trace.prefix is None:
            return self.trace(trace.tokens, trace.targets)
        # The prefix's own targets do not count.
        windows = (torch.cat([trace.prefix, part], dim=1) for part in (trace.tokens, trace.targets))
        return self.trace(*windows)

    def train(self, mode: bool = True) -> Teacher:
        """Leave the teacher as it is: dropout stays off."""
        return super().train(False)

    def _prepared(self) -> Architecture:
        if self.network is None:
            raise RuntimeError("a teacher has no weights before prepare(preparation) is called")
        return self.network
