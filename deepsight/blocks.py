"""The blocks of a pre-norm transformer: feed-forward, a layer of the encoder, a layer of the decoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from deepsight.config import USUAL_FEED_FORWARD
from deepsight.layers import CrossAttention, Dropout, Encoded, Hidden, LayerCache, Linear, Norm, Places, SelfAttention


class FeedForward(nn.Module):
    """Two linear maps with an exact GELU between them; `inner` wide inside, four times the width when not given."""

    def __init__(self, width: int, dropout: float, output_std: float, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or USUAL_FEED_FORWARD * width
        self.expand = Linear(width, inner)
        self.output = Linear(inner, width, output_std)
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Hidden) -> Hidden:
        """Transform each position by itself."""
        output: Tensor = self.dropout(self.output(F.gelu(self.expand(hidden))))
        return output


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward: a layer of the encoder and of the baseline."""

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float,
        output_std: float,
        rotary: bool = False,
        causal: bool = True,
        feed_forward: int | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = Norm(width)
        self.attention = SelfAttention(width, heads, dropout, output_std, rotary, causal)
        self.feed_forward_norm = Norm(width)
        self.feed_forward = FeedForward(width, dropout, output_std, feed_forward)

    def forward(self, hidden: Hidden, cache: LayerCache | None = None) -> Hidden:
        """Add what attention and feed-forward find to the residual stream."""
        hidden = hidden + self.attention(self.attention_norm(hidden), cache)
        output: Tensor = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        return output


class DecoderBlock(nn.Module):
    """Pre-norm causal self-attention, cross-attention on the encoder output, and feed-forward."""

    def __init__(
        self,
        width: int,
        heads: int,
        cross_heads: int,
        dropout: float,
        output_std: float,
        rotary: bool = False,
        causal_cross: bool = True,
        feed_forward: int | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = Norm(width)
        self.attention = SelfAttention(width, heads, dropout, output_std, rotary)
        self.cross_attention_norm = Norm(width)
        self.encoder_norm = Norm(width)
        self.cross_attention = CrossAttention(width, cross_heads, dropout, output_std, rotary, causal_cross)
        self.feed_forward_norm = Norm(width)
        self.feed_forward = FeedForward(width, dropout, output_std, feed_forward)

    def forward(
        self,
        hidden: Hidden,
        encoded: Encoded,
        cache: LayerCache | None = None,
        cross_cache: LayerCache | None = None,
    ) -> Hidden:
        """Add what the two attentions and the feed-forward find to the residual stream."""
        hidden = self.with_self_attention(hidden, cache)
        return self.with_feed_forward(self.with_cross_attention(hidden, encoded, cross_cache))

    def with_self_attention(self, hidden: Hidden, cache: LayerCache | None) -> Hidden:
        """Add what self-attention finds."""
        output: Tensor = hidden + self.attention(self.attention_norm(hidden), cache)
        return output

    def with_cross_attention(
        self, hidden: Hidden, encoded: Encoded, cache: LayerCache | None, start: Places | None = None
    ) -> Hidden:
        """Add what cross-attention finds in the encoder output; `start` is that of `CrossAttention`."""
        query = self.cross_attention_norm(hidden)
        output: Tensor = hidden + self.cross_attention(query, self.encoder_norm(encoded), cache, start)
        return output

    def with_feed_forward(self, hidden: Hidden) -> Hidden:
        """Add what the feed-forward finds."""
        output: Tensor = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        return output
