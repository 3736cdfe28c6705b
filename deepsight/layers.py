"""The parts of a pre-norm transformer without biases; shared by DeepSight and the baseline."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.attention import causal_attention
from deepsight.errors import UserError

INITIAL_STD = 0.02
NORM_EPSILON = 1e-5

Hidden = Float[Tensor, "batch time width"]


def residual_std(layers: int) -> float:
    """Return the initial std of a projection into the residual stream: 0.02/√(2·layers) (Radford et al., 2019)."""
    return float(INITIAL_STD / (2 * layers) ** 0.5)


class Linear(nn.Linear):
    """A linear map without bias that knows its initial standard deviation."""

    def __init__(self, inputs: int, outputs: int, std: float = INITIAL_STD) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.initial_std = std


class Embedding(nn.Embedding):
    """A table of vectors that knows its initial standard deviation."""

    initial_std = INITIAL_STD


class Norm(nn.LayerNorm):
    """Layer norm with a gain and no bias."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=NORM_EPSILON, bias=False)


class LayerCache:
    """Keys and values of the positions that one attention layer has seen."""

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
        if self._keys is None or self._values is None:
            batch, _, heads, head_width = key.shape
            self._keys = key.new_empty(batch, self.capacity, heads, head_width)
            self._values = torch.empty_like(self._keys)
        start, self.length = self.length, self.length + key.shape[1]
        self._keys[:, start : self.length] = key
        self._values[:, start : self.length] = value
        return self._keys[:, : self.length], self._values[:, : self.length]


class TokenAndPosition(nn.Module):
    """Token + learned position embeddings, then dropout."""

    def __init__(self, vocabulary: int, context: int, width: int, dropout: float) -> None:
        super().__init__()
        self.token = Embedding(vocabulary, width)
        self.position = Embedding(context, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "batch time"], start: int = 0) -> Hidden:
        """Embed tokens that stand at positions start, start + 1, …

        Raises:
            UserError: the last of them stands outside the context.

        """
        end = start + tokens.shape[1]
        if end > self.position.num_embeddings:
            raise UserError(f"the model sees {self.position.num_embeddings} tokens at most, not {end}")
        positions = self.position.weight.narrow(0, start, tokens.shape[1])
        embedded: Tensor = self.dropout(self.token(tokens) + positions)
        return embedded


class Attention(nn.Module):
    """What both attentions have after their queries, keys and values: heads, cache, dropout, and the way out."""

    def __init__(self, width: int, heads: int, dropout: float, output_std: float) -> None:
        super().__init__()
        self.heads = heads
        self.output = Linear(width, width, output_std)
        self.attention_dropout = dropout
        self.dropout = nn.Dropout(dropout)

    def mixed(
        self,
        query: Float[Tensor, "batch time heads head_width"],
        key: Float[Tensor, "batch time heads head_width"],
        value: Float[Tensor, "batch time heads head_width"],
        cache: LayerCache | None,
    ) -> Hidden:
        """Attend causally, over what the cache holds too, and join the heads."""
        if cache is not None:
            key, value = cache.extended(key, value)
        dropout = self.attention_dropout if self.training else 0.0
        attended = causal_attention(query, key, value, dropout=dropout)
        output: Tensor = self.dropout(self.output(attended.flatten(-2)))
        return output


class SelfAttention(Attention):
    """Causal multi-head self-attention; queries, keys and values come from one matrix, in this order of rows."""

    def __init__(self, width: int, heads: int, dropout: float, output_std: float) -> None:
        super().__init__(width, heads, dropout, output_std)
        self.query_key_value = Linear(width, 3 * width)

    def forward(self, hidden: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Let each position attend to itself and those before it."""
        query, key, value = self.query_key_value(hidden).unflatten(-1, (3, self.heads, -1)).unbind(dim=-3)
        return self.mixed(query, key, value, cache)


class CrossAttention(Attention):
    """Causal multi-head attention from decoder states to encoder states at the same and earlier positions."""

    def __init__(self, width: int, heads: int, dropout: float, output_std: float) -> None:
        super().__init__(width, heads, dropout, output_std)
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)

    def forward(self, hidden: Hidden, encoded: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Let each decoder position attend to encoder positions up to its own."""
        query = self.query(hidden).unflatten(-1, (self.heads, -1))
        key, value = self.key_value(encoded).unflatten(-1, (2, self.heads, -1)).unbind(dim=-3)
        return self.mixed(query, key, value, cache)


class FeedForward(nn.Module):
    """Two linear maps with an exact GELU between them, four times as wide inside."""

    def __init__(self, width: int, dropout: float, output_std: float) -> None:
        super().__init__()
        self.expand = Linear(width, 4 * width)
        self.output = Linear(4 * width, width, output_std)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Hidden) -> Hidden:
        """Transform each position by itself."""
        output: Tensor = self.dropout(self.output(F.gelu(self.expand(hidden))))
        return output


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward: a layer of the encoder and of the baseline."""

    def __init__(self, width: int, heads: int, dropout: float, output_std: float) -> None:
        super().__init__()
        self.attention_norm = Norm(width)
        self.attention = SelfAttention(width, heads, dropout, output_std)
        self.feed_forward_norm = Norm(width)
        self.feed_forward = FeedForward(width, dropout, output_std)

    def forward(self, hidden: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Add what attention and feed-forward find to the residual stream."""
        hidden = hidden + self.attention(self.attention_norm(hidden), cache)
        output: Tensor = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        return output


class DecoderBlock(nn.Module):
    """Pre-norm self-attention, cross-attention on the encoder output, and feed-forward."""

    def __init__(self, width: int, heads: int, cross_heads: int, dropout: float, output_std: float) -> None:
        super().__init__()
        self.attention_norm = Norm(width)
        self.attention = SelfAttention(width, heads, dropout, output_std)
        self.cross_attention_norm = Norm(width)
        self.encoder_norm = Norm(width)
        self.cross_attention = CrossAttention(width, cross_heads, dropout, output_std)
        self.feed_forward_norm = Norm(width)
        self.feed_forward = FeedForward(width, dropout, output_std)

    def forward(
        self,
        hidden: Hidden,
        encoded: Hidden,
        cache: LayerCache | None = None,
        cross_cache: LayerCache | None = None,
    ) -> Hidden:
        """Add what the two attentions and the feed-forward find to the residual stream."""
        hidden = hidden + self.attention(self.attention_norm(hidden), cache)
        query = self.cross_attention_norm(hidden)
        hidden = hidden + self.cross_attention(query, self.encoder_norm(encoded), cross_cache)
        output: Tensor = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        return output
