"""DeepSight: a causally masked encoder, a linear bridge, and a decoder that attends to the encoder in every layer."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.layers import Block, DecoderBlock, LayerCache, Linear, Norm, residual_std
from deepsight.plug_ins import architectures

Hidden = Float[Tensor, "batch time width"]


@architectures.register("deepsight")
class DeepSight(Architecture):
    """The autoregressive encoder-decoder.

    The encoder reads x₁ … x_t causally. The bridge maps its raw output to the decoder's input. Every decoder layer does
    causal self-attention, causal cross-attention on the raw encoder output, and a feed-forward. Encoder and decoder
    have depths of their own: ``layers: [encoder, decoder]``.
    """

    default_objective = "future_context"

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        encoder_layers, decoder_layers = _depths(config)
        width, heads, dropout = config.width, config.heads, config.dropout
        # The original scales by the encoder's depth alone, in the decoder too.
        std = residual_std(encoder_layers)
        self.encoder = nn.ModuleList(Block(width, heads, dropout, std) for _ in range(encoder_layers))
        self.bridge = Linear(width, width)
        self.decoder = nn.ModuleList(
            DecoderBlock(width, heads, config.cross_heads or heads, dropout, std) for _ in range(decoder_layers)
        )
        self.final_norm = Norm(width)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Check the pair of depths and fill in the heads of cross-attention."""
        _depths(config)
        return config.model_copy(update={"cross_heads": config.cross_heads or config.heads})

    def states(self, embedded: Hidden, cache: list[LayerCache] | None = None) -> tuple[Hidden, Hidden]:
        """Run encoder, bridge and decoder."""
        caches: list[LayerCache | None] = list(cache) if cache else [None] * self._attention_layers
        parts = iter(caches)
        encoded = embedded
        for block in self.encoder:
            encoded = block(encoded, next(parts))
        hidden = self.bridge(encoded)
        for block in self.decoder:
            hidden = block(hidden, encoded, next(parts), next(parts))
        return encoded, self.final_norm(hidden)

    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache: one part an encoder layer, two a decoder layer."""
        return [LayerCache(self.config.context) for _ in range(self._attention_layers)]

    @property
    def _attention_layers(self) -> int:
        return len(self.encoder) + 2 * len(self.decoder)


def _depths(config: ModelConfig) -> tuple[int, int]:
    layers = config.layers
    if isinstance(layers, int) or len(layers) != 2 or min(layers) < 1:
        raise UserError(f"deepsight needs [encoder, decoder] layers, each at least 1, not {layers}", ("layers",))
    return layers[0], layers[1]
