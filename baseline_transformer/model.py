"""The decoder-only transformer that DeepSight is compared with, built from DeepSight's own layers."""

from __future__ import annotations

from torch import nn

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.layers import Block, Hidden, LayerCache, Norm, residual_std
from deepsight.plug_ins import architectures


@architectures.register("baseline")
class BaselineTransformer(Architecture):
    """A decoder-only pre-norm transformer (Radford et al., 2019) without biases.

    A pair of depths means as many layers as encoder and decoder have together. What objectives read as the encoder
    output is the state after the middle layer, where DeepSight's encoder of half the depth would end.
    """

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        depth = _depth(config)
        std = residual_std(depth)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.dropout, std) for _ in range(depth))
        self.final_norm = Norm(config.width)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Add up the depths; there is no cross-attention."""
        return config.model_copy(update={"layers": _depth(config), "cross_heads": None})

    def states(self, embedded: Hidden, cache: list[LayerCache] | None = None) -> tuple[Hidden, Hidden]:
        """Run all layers; the state after the middle one stands for the encoder output."""
        caches: list[LayerCache | None] = list(cache) if cache else [None] * len(self.blocks)
        hidden = middle = embedded
        for position, (block, part) in enumerate(zip(self.blocks, caches, strict=True), start=1):
            hidden = block(hidden, part)
            if position == (len(self.blocks) + 1) // 2:
                middle = hidden
        return middle, self.final_norm(hidden)

    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache, one part a layer."""
        return [LayerCache(self.config.context) for _ in self.blocks]


def _depth(config: ModelConfig) -> int:
    layers = [config.layers] if isinstance(config.layers, int) else config.layers
    if not 1 <= len(layers) <= 2 or min(layers) < 1:
        raise UserError(f"baseline needs a number of layers, at least 1, not {config.layers}", ("layers",))
    return sum(layers)
