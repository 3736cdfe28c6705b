"""The sibling of DeepSight: the same encoder, bridge and decoder, which may also read the next position."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from deepsight.architecture import Hidden
from deepsight.blocks import DecoderBlock
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.layers import Embedding, LayerCache, Norm, Places
from deepsight.model import CausalEncoderDecoder
from deepsight.plug_ins import architectures
from deepsight.registry import Spec

NAME = "encoder_decoder"

AttentionOrder = Literal["self_first", "cross_first"]
Subtraction = Literal["none", "plain", "normed"]


class CrossFirstBlock(DecoderBlock):
    """A decoder layer that attends to the encoder before it attends to itself."""

    def forward(
        self,
        hidden: Hidden,
        encoded: Hidden,
        cache: LayerCache | None = None,
        cross_cache: LayerCache | None = None,
    ) -> Hidden:
        """Add what the two attentions and the feed-forward find to the residual stream."""
        hidden = self.with_cross_attention(hidden, encoded, cross_cache)
        return self.with_feed_forward(self.with_self_attention(hidden, cache))


@architectures.register(NAME)
class EncoderDecoder(CausalEncoderDecoder):
    """The autoregressive encoder-decoder that DeepSight came from, whose encoder the `embedding` loss teaches.

    A position's logits are about the token that stands one position later. So the embedding of that next position may
    be subtracted from what is unembedded, or added to what enters the decoder; the position table then has one row more
    than the context. The defaults are those of the original's stored losses; the published tables name the subtraction
    alone. With neither, and without a norm before the bridge, this is DeepSight's network.

    Args:
        config: a normalised model configuration.
        vocabulary: number of token ids.
        attention_order: `self_first`, as published, is self-attention, then cross-attention; `cross_first` the reverse.
        subtract_positions: subtract the next position's embedding from the final norm's output: `none`; `plain`, as
            published; or `normed`, where one more norm follows.
        add_positions: add the next position's embedding to the bridge's output; published without.
        bridge_norm: a norm before the bridge; published without.

    Raises:
        UserError: positions are to be subtracted or added, but are rotary, so there are no embeddings of them.

    """

    default_objective = "embedding"

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: int,
        attention_order: AttentionOrder = "self_first",
        subtract_positions: Subtraction = "plain",
        add_positions: bool = False,
        bridge_norm: bool = False,
    ) -> None:
        super().__init__(config, vocabulary, CrossFirstBlock if attention_order == "cross_first" else DecoderBlock)
        self.subtracts = subtract_positions != "none"
        self.adds = add_positions
        self.bridge_norm = Norm(config.width) if bridge_norm else None
        self.subtraction_norm = Norm(config.width) if subtract_positions == "normed" else None
        if self.subtracts or self.adds:
            _check_positions(config)
            self.embedding.position = Embedding(config.context + 1, config.width)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Check depths and positions, and fill in the heads of cross-attention."""
        if reads_next_position(architectures.resolve(config.architecture)):
            _check_positions(config)
        return super().normalised(config)

    def bridged(self, encoded: Hidden, places: Places) -> Hidden:
        """Return the decoder's input: the bridge's output, with the next positions added where they are."""
        hidden: Hidden = self.bridge(encoded if self.bridge_norm is None else self.bridge_norm(encoded))
        return hidden + self._next_positions(hidden, places) if self.adds else hidden

    def finished(self, hidden: Hidden, places: Places) -> Hidden:
        """Return what is unembedded: the final norm's output, with the next positions subtracted where they are."""
        output: Hidden = self.final_norm(hidden)
        if self.subtracts:
            output = output - self._next_positions(output, places)
        return output if self.subtraction_norm is None else self.subtraction_norm(output)

    def _next_positions(self, states: Hidden, places: Places) -> Float[Tensor, "... time width"]:
        """Return the embeddings of the positions after those of the states."""
        assert self.embedding.position is not None
        if isinstance(places, int):
            return self.embedding.position.weight.narrow(0, places + 1, states.shape[1])
        following: Tensor = self.embedding.position(places + 1)
        return following


def reads_next_position(parameters: Spec) -> bool:
    """Return whether a model with these parameters needs the embedding of the position after its last."""
    return parameters["subtract_positions"] != "none" or bool(parameters["add_positions"])


def _check_positions(config: ModelConfig) -> None:
    if config.positions == "rotary":
        raise UserError(
            f"{NAME} subtracts or adds learned position embeddings, and rotary positions have none: choose learned, "
            "or subtract_positions: none and add_positions: false",
            ("positions",),
        )
