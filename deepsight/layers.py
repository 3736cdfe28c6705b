"""What the blocks of a pre-norm transformer without biases are made of; shared by all architectures."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deepsight.attention import attend
from deepsight.errors import UserError
from deepsight.products import linear

INITIAL_STD = 0.02
NORM_EPSILON = 1e-5
ROTARY_BASE = 10_000.0

CACHE_STEP = 64
"""Positions by which a cache grows; attention is slower over heads between which much memory is unused."""

Hidden = Float[Tensor, "batch time width"]
Places = int | Int[Tensor, "batch time"]
"""Where positions stand: in a row from a number on, or each at its own."""
Encoded = Float[Tensor, "batch encoded width"]


def residual_std(layers: int) -> float:
    """Return the initial std of a projection into the residual stream: 0.02/√(2·layers) (Radford et al., 2019)."""
    return float(INITIAL_STD / (2 * layers) ** 0.5)


class Linear(nn.Linear):
    """A linear map without bias that knows its initial standard deviation."""

    def __init__(self, inputs: int, outputs: int, std: float = INITIAL_STD) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.initial_std = std

    def forward(self, input: Tensor) -> Tensor:
        """Map (…, inputs) to (…, outputs)."""
        return linear(input, self.weight)

    def reset_parameters(self) -> None:
        """Fill the weights as torch does; on `meta` there is nothing to fill, and to try takes half of building."""
        if not self.weight.is_meta:
            super().reset_parameters()


class Embedding(nn.Embedding):
    """A table of vectors that knows its initial standard deviation."""

    initial_std = INITIAL_STD

    def reset_parameters(self) -> None:
        """Fill the table as torch does, if it has storage."""
        if not self.weight.is_meta:
            super().reset_parameters()


class Dropout(nn.Dropout):
    """Dropout that is not even asked for outside training; generating a token meets one after each product."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop in training alone."""
        return super().forward(input) if self.training else input


class Norm(nn.LayerNorm):
    """Layer norm with a gain and no bias."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=NORM_EPSILON, bias=False)


def rotated(
    states: Float[Tensor, "batch time heads head_width"], places: Places = 0
) -> Float[Tensor, "batch time heads head_width"]:
    """Rotate pairs of dimensions by angles that grow with the position (Su et al., 2021, eq. 34).

    With h = ⌊head_width / 2⌋, dimension i pairs with dimension i + h and turns by position · 10000^(-i / h), for i from
    0 to h - 1. The states stand at `places`. Where the head width is odd, its last dimension is left as it is. Angles
    and products are float32 at least: in half precision a late position would have no exact number.
    """
    half = states.shape[-1] // 2
    precision = torch.promote_types(states.dtype, torch.float32)
    if isinstance(places, int):
        places = torch.arange(places, places + states.shape[1], device=states.device)
    positions = places.to(precision)
    exponents = torch.arange(half, device=states.device, dtype=precision) / max(half, 1)
    angles = (positions[..., None] * ROTARY_BASE**-exponents)[..., None, :]
    cosine, sine = angles.cos(), angles.sin()
    first, second, rest = states[..., :half], states[..., half : 2 * half], states[..., 2 * half :]
    turned = torch.cat([first * cosine - second * sine, first * sine + second * cosine, rest.to(precision)], dim=-1)
    return turned.to(states.dtype)


class LayerCache:
    """Keys and values of the positions that one attention layer has seen.

    Args:
        capacity: the most positions; memory is taken for those that there are, `CACHE_STEP` at a time.

    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def extended(
        self,
        key: Float[Tensor, "batch new heads head_width"],
        value: Float[Tensor, "batch new heads head_width"],
    ) -> tuple[Tensor, Tensor]:
        """Take in the keys and values of new positions and return those of all positions so far."""
        start, end = self.length, self.length + key.shape[1]
        if self._keys is None or self._values is None or end > self._keys.shape[2]:
            self._keys, self._values = self._with_room(self._keys, key, end), self._with_room(self._values, value, end)
        self.length = end
        # Views of this call alone: one of a time without gradients could not be written to in one with them.
        keys, values = self._keys.transpose(1, 2), self._values.transpose(1, 2)
        keys.narrow(1, start, end - start).copy_(key)
        values.narrow(1, start, end - start).copy_(value)
        return keys.narrow(1, 0, end), values.narrow(1, 0, end)

    def _with_room(self, old: Tensor | None, new: Tensor, end: int) -> Tensor:
        batch, _, heads, head_width = new.shape
        room = min(-(-end // CACHE_STEP) * CACHE_STEP, self.capacity)
        # In memory the positions of a head follow each other, which is how attention reads them.
        grown = new.new_empty(batch, heads, room, head_width)
        if old is not None:
            grown.narrow(2, 0, self.length).copy_(old.narrow(2, 0, self.length))
        return grown

    def truncate(self, length: int) -> None:
        """Forget the positions from `length` on."""
        self.length = min(self.length, length)


class Arrangement(LayerCache):
    """In a cache's place: positions that do not stand in a row, and which of them each one sees. It holds nothing.

    Args:
        places: where each position stands.
        visible: row i is true at the positions that position i sees; the usual order when not given.

    """

    def __init__(
        self, places: Int[Tensor, "batch time"], visible: Bool[Tensor, "*rows time all"] | None = None
    ) -> None:
        super().__init__(capacity=0)
        self.places = places
        self.visible = visible

    def extended(
        self,
        key: Float[Tensor, "batch new heads head_width"],
        value: Float[Tensor, "batch new heads head_width"],
    ) -> tuple[Tensor, Tensor]:
        """Return the keys and values themselves."""
        return key, value


def positions_in(cache: LayerCache | None) -> int:
    """Return how many positions a cache holds: the number of the next, counted from 0."""
    return 0 if cache is None else cache.length


def standing(cache: LayerCache | None) -> Places:
    """Return where the positions stand that come with a cache: after those that it holds, or as it arranges them."""
    return cache.places if isinstance(cache, Arrangement) else positions_in(cache)


def visible_in(cache: LayerCache | None) -> Bool[Tensor, "*rows time all"] | None:
    """Return which positions each one sees, where that is not the usual order."""
    return cache.visible if isinstance(cache, Arrangement) else None


class TokenAndPosition(nn.Module):
    """Token embeddings, plus learned position embeddings unless positions are rotary; then dropout."""

    def __init__(self, vocabulary: int, context: int, width: int, dropout: float, rotary: bool = False) -> None:
        super().__init__()
        self.context = context
        self.token = Embedding(vocabulary, width)
        self.position = None if rotary else Embedding(context, width)
        self.dropout = Dropout(dropout)

    def placed(self, vectors: Hidden, places: Int[Tensor, "batch time"]) -> Hidden:
        """Embed vectors that are no tokens, at any positions of the context."""
        if self.position is not None:
            vectors = vectors + self.position(places)
        dropped: Tensor = self.dropout(vectors)
        return dropped

    def forward(self, tokens: Int[Tensor, "batch time"], start: int = 0) -> Hidden:
        """Embed tokens that stand at positions start, start + 1, …

        Raises:
            UserError: the last of them stands outside the context.

        """
        end = start + tokens.shape[1]
        if end > self.context:
            raise UserError(f"the model sees {self.context} tokens at most, not {end}")
        embedded = self.token(tokens)
        if self.position is not None:
            embedded = embedded + self.position.weight.narrow(0, start, tokens.shape[1])
        dropped: Tensor = self.dropout(embedded)
        return dropped


class Attention(nn.Module):
    """What both attentions have after their queries, keys and values: heads, cache, dropout, and the way out."""

    def __init__(
        self, width: int, heads: int, dropout: float, output_std: float, rotary: bool = False, causal: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary
        self.causal = causal
        self.output = Linear(width, width, output_std)
        self.attention_dropout = dropout
        self.dropout = Dropout(dropout)

    def mixed(
        self,
        query: Float[Tensor, "batch time heads head_width"],
        key: Float[Tensor, "batch new heads head_width"],
        value: Float[Tensor, "batch new heads head_width"],
        cache: LayerCache | None,
        start: Places,
        meets_itself: bool = True,
    ) -> Hidden:
        """Attend, over what the cache holds too, and join the heads.

        The first query stands at position `start`; the new keys come after those that the cache holds, from 0 on.
        `meets_itself` is that of `attend`.
        """
        if self.rotary:
            query, key = rotated(query, start), rotated(key, standing(cache))
        if cache is not None:
            key, value = cache.extended(key, value)
        dropout = self.attention_dropout if self.training else 0.0
        visible = visible_in(cache)
        attended = attend(
            query, key, value, causal=self.causal, dropout=dropout, visible=visible, meets_itself=meets_itself
        )
        output: Tensor = self.dropout(self.output(attended.flatten(-2)))
        return output


class SelfAttention(Attention):
    """Multi-head self-attention; queries, keys and values come from one matrix, in this order of rows."""

    def __init__(
        self, width: int, heads: int, dropout: float, output_std: float, rotary: bool = False, causal: bool = True
    ) -> None:
        super().__init__(width, heads, dropout, output_std, rotary, causal)
        self.query_key_value = Linear(width, 3 * width)

    def forward(self, hidden: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Let each position attend to itself and those before it; where attention is not causal, to all."""
        query, key, value = self.query_key_value(hidden).unflatten(-1, (3, self.heads, -1)).unbind(dim=-3)
        return self.mixed(query, key, value, cache, start=standing(cache))


class CrossAttention(Attention):
    """Multi-head attention from decoder states to encoder states."""

    def __init__(
        self, width: int, heads: int, dropout: float, output_std: float, rotary: bool = False, causal: bool = True
    ) -> None:
        super().__init__(width, heads, dropout, output_std, rotary, causal)
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)

    def forward(
        self, hidden: Hidden, encoded: Encoded, cache: LayerCache | None = None, start: Places | None = None
    ) -> Hidden:
        """Let each decoder position attend to encoder positions up to its own; where it is not causal, to all.

        Args:
            hidden: of decoder positions.
            encoded: of the encoder positions that the cache does not hold yet.
            cache: of the encoder's keys and values.
            start: where they stand, counted from the encoder's first position, which is 0; where not given, decoder and
                encoder go side by side.

        """
        query = self.query(hidden).unflatten(-1, (self.heads, -1))
        key, value = self.key_value(encoded).unflatten(-1, (2, self.heads, -1)).unbind(dim=-3)
        side_by_side = start is None
        return self.mixed(query, key, value, cache, standing(cache) if start is None else start, side_by_side)
