"""The classical encoder–decoder, as a control: it reads a prefix once, without a causal mask, and continues it."""

from __future__ import annotations

import functools
from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.architecture import Architecture, Hidden, States
from deepsight.blocks import Block, DecoderBlock
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.layers import Arrangement, Encoded, LayerCache, Norm, positions_in, residual_std, standing
from deepsight.model import depths
from deepsight.plug_ins import architectures
from deepsight.trace import Trace

NAME = "canonical"


class ContinuingBlock(DecoderBlock):
    """A decoder layer whose positions follow those of the encoder, all of which it sees."""

    def __init__(
        self,
        width: int,
        heads: int,
        cross_heads: int,
        dropout: float,
        output_std: float,
        rotary: bool,
        prefix: int,
        feed_forward: int | None = None,
    ) -> None:
        super().__init__(width, heads, cross_heads, dropout, output_std, rotary, False, feed_forward)
        self.prefix = prefix

    def forward(
        self,
        hidden: Hidden,
        encoded: Encoded,
        cache: LayerCache | None = None,
        cross_cache: LayerCache | None = None,
    ) -> Hidden:
        """Add what the two attentions and the feed-forward find to the residual stream."""
        start = self.prefix + standing(cache)
        hidden = self.with_self_attention(hidden, cache)
        return self.with_feed_forward(self.with_cross_attention(hidden, encoded, cross_cache, start))


@architectures.register(NAME)
class Canonical(Architecture):
    """The encoder–decoder of Vaswani et al. (2017): the encoder reads a prefix of P tokens, the decoder the rest.

    The encoder has no causal mask and runs once. The decoder reads the embeddings of the tokens from position P on, and
    every layer of it does causal self-attention, attention to all P encoder states, and a feed-forward. There is no
    bridge. The layers are pre-norm and without biases, and begin with the weights of DeepSight's of the same name.

    A token of the prefix is seen by the encoder whatever comes before it, so next tokens are predicted from position P
    on only, and a trace covers these positions alone. Its encoder output is the decoder's state after the middle layer:
    objectives may not read a state that has seen later tokens. ``layers: [encoder, decoder]``.

    In myopic training the whole prefix is earlier than any loss: the encoder keeps its initial weights.

    Args:
        config: a normalised model configuration.
        vocabulary: number of token ids.
        prefix: P; half the context when not given.

    Raises:
        UserError: the prefix leaves nothing of the context to predict.

    """

    takes_registers = True

    def __init__(self, config: ModelConfig, vocabulary: int, prefix: Annotated[int, Field(ge=1)] | None = None) -> None:
        if prefix is not None:
            config = config.model_copy(update={"architecture": {"name": NAME, "prefix": prefix}})
        super().__init__(self.normalised(config), vocabulary)
        encoder_layers, decoder_layers = depths(config)
        width, heads, dropout, rotary = config.width, config.heads, config.dropout, config.positions == "rotary"
        std, inner = residual_std(encoder_layers), config.feed_forward
        self.prefix = self.first_predicted(config)
        self.encoder = nn.ModuleList(
            Block(width, heads, dropout, std, rotary, causal=False, feed_forward=inner) for _ in range(encoder_layers)
        )
        self.decoder = nn.ModuleList(
            ContinuingBlock(width, heads, config.cross_heads or heads, dropout, std, rotary, self.prefix, inner)
            for _ in range(decoder_layers)
        )
        self.final_norm = Norm(width)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Check the pair of depths, and fill in the prefix and the heads of cross-attention."""
        depths(config)
        prefix = _prefix_of(config)
        if prefix >= config.context:
            raise UserError(
                f"a prefix of {prefix} leaves nothing to predict of a context of {config.context}; "
                f"give a longer context, or a prefix of at most {max(config.context - 1, 1)}",
                ("architecture", "prefix"),
            )
        filled = {"architecture": {"name": NAME, "prefix": prefix}, "cross_heads": config.cross_heads or config.heads}
        return config.model_copy(update=filled)

    @classmethod
    def first_predicted(cls, config: ModelConfig) -> int:
        """Return the length of the prefix: its tokens, and the first after it, are given."""
        return _prefix_of(config)

    @classmethod
    def layer_count(cls, config: ModelConfig) -> int:
        """Return the number of decoder layers; the encoder's states have seen later tokens."""
        return depths(config)[1]

    def states(self, embedded: Hidden, cache: list[LayerCache] | None = None) -> States:
        """Return the states of the positions after the prefix, with which `embedded` begins unless a cache has seen it.

        Raises:
            UserError: there is nothing after the prefix.

        """
        caches: list[LayerCache | None] = list(cache) if cache else [None] * (2 * len(self.decoder))
        # A prefix that the cache has seen is not encoded again: no new encoder states.
        length = 0 if positions_in(caches[0]) else self.prefix
        if embedded.shape[1] <= length:
            raise UserError(
                f"the encoder of {NAME} reads the first {length} tokens and the decoder goes on after them: "
                f"at least {length + 1} tokens are needed, not {embedded.shape[1]}"
            )
        encoded, hidden = embedded[:, :length], embedded[:, length:]
        if length:
            for block in self.encoder:
                encoded = block(encoded)
        parts = iter(caches)
        layers = []
        for block in self.decoder:
            hidden = block(hidden, encoded, next(parts), next(parts))
            layers.append(hidden)
        return States(layers[(len(layers) - 1) // 2], self.final_norm(hidden), tuple(layers))

    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache: each decoder layer's own positions, and its keys and values of the prefix."""
        room = self.config.context - self.prefix
        return [LayerCache(capacity) for _ in self.decoder for capacity in (room, self.prefix)]

    def arranged(self, arrangement: Arrangement) -> list[LayerCache]:
        """Return an arrangement of the decoder's positions; each sees the whole prefix."""
        places = torch.arange(self.prefix, device=arrangement.places.device)
        prefix = Arrangement(places.expand(len(arrangement.places), -1))
        return [part for _ in self.decoder for part in (arrangement, prefix)]

    def tokens_read(self, cache: list[LayerCache]) -> int:
        """Return how many tokens a cache has seen, the prefix counted."""
        decoded = cache[0].length
        return self.prefix + decoded if decoded else 0

    def forget(self, cache: list[LayerCache], tokens: int) -> None:
        """Let a cache forget all that it has seen but the first `tokens` tokens; it keeps no prefix alone."""
        kept = max(0, tokens - self.prefix)
        for own, cross in zip(cache[::2], cache[1::2], strict=True):
            own.truncate(kept)
            cross.truncate(self.prefix if kept else 0)

    def forward(self, tokens: Int[Tensor, "batch time"], targets: Int[Tensor, "batch time"]) -> Trace:
        """Run the whole window once and leave what losses read of the positions after the prefix."""
        embedded = self.embedding(tokens)
        states = self.states(embedded)
        prefix, continuation = tokens.tensor_split([self.prefix], dim=1)
        return Trace(
            continuation,
            targets[:, self.prefix :],
            embedded[:, self.prefix :],
            states.encoder_output,
            states.decoder_output,
            self.unembedding,
            layers=states.layers,
            network=functools.partial(self._continued, prefix),
            registers=functools.partial(self.register_states, tokens),
            prefix=prefix,
        )

    def _continued(
        self,
        prefix: Int[Tensor, "batch prefix"],
        tokens: Int[Tensor, "batch time"],
        targets: Int[Tensor, "batch time"],
    ) -> Trace:
        """Run the network on another continuation of a window's prefix, whose targets do not count anyway."""
        trace: Trace = self(torch.cat([prefix, tokens], dim=1), torch.cat([prefix, targets], dim=1))
        return trace


def _prefix_of(config: ModelConfig) -> int:
    """Return the prefix that a configuration names, half the context where it names none."""
    written = config.architecture.get("prefix") if isinstance(config.architecture, dict) else None
    return max(1, config.context // 2) if written is None else int(written)
