"""The decoder-only transformer that DeepSight is compared with, built from DeepSight's own layers."""

from __future__ import annotations

from torch import nn

from deepsight.architecture import Architecture, Hidden, States
from deepsight.blocks import Block
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.layers import LayerCache, Norm, residual_std
from deepsight.plug_ins import architectures


@architectures.register("baseline")
class BaselineTransformer(Architecture):
    """A decoder-only pre-norm transformer (Radford et al., 2019) without biases.

    A pair of depths means as many layers as encoder and decoder have together. What objectives read as the encoder
    output is the state after the middle layer, where DeepSight's encoder of half the depth would end.
    """

    takes_registers = True

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        depth = _depth(config)
        std = residual_std(depth)
        rotary = config.positions == "rotary"
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.dropout, std, rotary, feed_forward=config.feed_forward)
            for _ in range(depth)
        )
        self.final_norm = Norm(config.width)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Add up the depths; there is no cross-attention."""
        return config.model_copy(update={"layers": _depth(config), "cross_heads": None})

    def states(self, embedded: Hidden, cache: list[LayerCache] | None = None) -> States:
        """Run all layers; the state after the middle one stands for the encoder output."""
        caches: list[LayerCache | None] = list(cache) if cache else [None] * len(self.blocks)
        layers = []
        hidden = embedded
        for block, part in zip(self.blocks, caches, strict=True):
            hidden = block(hidden, part)
            layers.append(hidden)
        return States(layers[(len(layers) - 1) // 2], self.final_norm(hidden), tuple(layers))

    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache, one part a layer."""
        return [LayerCache(self.config.context) for _ in self.blocks]


def _depth(config: ModelConfig) -> int:
    layers = [config.layers] if isinstance(config.layers, int) else config.layers
    if not 1 <= len(layers) <= 2 or min(layers) < 1:
        raise UserError(f"baseline needs a number of layers, at least 1, not {config.layers}", ("layers",))
    return sum(layers)
