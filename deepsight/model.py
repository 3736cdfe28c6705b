"""DeepSight: a causally masked encoder, a linear bridge, and a decoder that attends to the encoder in every layer."""

from __future__ import annotations

from torch import nn

from deepsight.architecture import Architecture, Hidden, States
from deepsight.blocks import Block, DecoderBlock
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.layers import LayerCache, Linear, Norm, Places, residual_std, standing
from deepsight.plug_ins import architectures


class CausalEncoderDecoder(Architecture):
    """What DeepSight and its sibling have in common.

    The encoder reads x₁ … x_t causally. The bridge maps its raw output to the decoder's input. Every decoder layer has
    causal self-attention, causal cross-attention on the raw encoder output, and a feed-forward. Encoder and decoder
    have depths of their own: ``layers: [encoder, decoder]``.

    Args:
        config: a normalised model configuration.
        vocabulary: number of token ids.
        decoder_block: the kind of decoder layer.

    """

    takes_registers = True

    def __init__(self, config: ModelConfig, vocabulary: int, decoder_block: type[DecoderBlock] = DecoderBlock) -> None:
        super().__init__(config, vocabulary)
        encoder_layers, decoder_layers = depths(config)
        width, heads, dropout, rotary = config.width, config.heads, config.dropout, config.positions == "rotary"
        # The original scales by the encoder's depth alone, in the decoder too.
        std = residual_std(encoder_layers)
        inner = config.feed_forward
        self.encoder = nn.ModuleList(
            Block(width, heads, dropout, std, rotary, feed_forward=inner) for _ in range(encoder_layers)
        )
        self.bridge = Linear(width, width)
        self.decoder = nn.ModuleList(
            decoder_block(width, heads, config.cross_heads or heads, dropout, std, rotary, feed_forward=inner)
            for _ in range(decoder_layers)
        )
        self.final_norm = Norm(width)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Check the pair of depths and fill in the heads of cross-attention."""
        depths(config)
        return config.model_copy(update={"cross_heads": config.cross_heads or config.heads})

    def states(self, embedded: Hidden, cache: list[LayerCache] | None = None) -> States:
        """Run encoder, bridge and decoder."""
        places = standing(cache[0] if cache else None)
        caches: list[LayerCache | None] = list(cache) if cache else [None] * self._attention_layers
        parts = iter(caches)
        layers = []
        encoded = embedded
        for block in self.encoder:
            encoded = block(encoded, next(parts))
            layers.append(encoded)
        hidden = self.bridged(encoded, places)
        for block in self.decoder:
            hidden = block(hidden, encoded, next(parts), next(parts))
            layers.append(hidden)
        return States(encoded, self.finished(hidden, places), tuple(layers))

    def bridged(self, encoded: Hidden, places: Places) -> Hidden:
        """Return the decoder's input, made of the encoder output at these positions."""
        output: Hidden = self.bridge(encoded)
        return output

    def finished(self, hidden: Hidden, places: Places) -> Hidden:
        """Return what is unembedded, made of the last layer's output at these positions."""
        output: Hidden = self.final_norm(hidden)
        return output

    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache: one part an encoder layer, two a decoder layer."""
        return [LayerCache(self.config.context) for _ in range(self._attention_layers)]

    @property
    def _attention_layers(self) -> int:
        return len(self.encoder) + 2 * len(self.decoder)


@architectures.register("deepsight")
class DeepSight(CausalEncoderDecoder):
    """The autoregressive encoder-decoder whose encoder the future loss teaches."""

    default_objective = "future_context"

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary)


def depths(config: ModelConfig) -> tuple[int, int]:
    """Return the numbers of encoder and decoder layers.

    Raises:
        UserError: they are not two, each at least 1.

    """
    layers, name = config.layers, config.architecture_name
    if isinstance(layers, int) or len(layers) != 2 or min(layers) < 1:
        raise UserError(f"{name} needs [encoder, decoder] layers, each at least 1, not {layers}", ("layers",))
    return layers[0], layers[1]
