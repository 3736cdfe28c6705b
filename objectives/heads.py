"""Heads: what stands between a state of the network and an output matrix, in training only."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from deepsight.blocks import Block
from deepsight.layers import LayerCache, Linear, Norm, residual_std
from deepsight.trace import Shape

Hidden = Float[Tensor, "batch time width"]
WindowEnd = Literal["trim", "extend"]
"""What counts of a target that lies past the window: nothing, or the tokens that follow the window in the text."""


def own_block(shape: Shape) -> Block:
    """Return a causal transformer block like the network's, without dropout."""
    return Block(shape.width, shape.heads, 0.0, residual_std(shape.layers), rotary=shape.positions == "rotary")


class LinearHead(nn.Module):
    """One square matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.map = Linear(shape.width, shape.width)

    def forward(self, states: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Map each state by itself."""
        mapped: Tensor = self.map(states)
        return mapped


class BlockHead(nn.Module):
    """One transformer block and a norm.

    In myopic training its attention is myopic like the network's: what it says at a position teaches no earlier state.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.block = own_block(shape)
        self.norm = Norm(shape.width)

    def forward(self, states: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Let each state attend to itself and those before it."""
        normed: Tensor = self.norm(self.block(states, cache))
        return normed
