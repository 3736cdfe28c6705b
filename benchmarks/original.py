"""The published systems as plain PyTorch, the peer that stands for the original code.

Modules of `torch.nn`, all logits at once, attention written out with a mask, the future weights as a dense
(time × time) matrix, no cache. Parameters have the original names, so the stored reference values hold it to the
original: it shares no line with the product.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PUBLISHED = {"layer_norm": "POST_AGGR", "aggregation": "DECAY", "present_future": "EQUAL", "distance": "MSE"}
"""The published choice of the planning loss."""


class SelfAttention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.batch_attn_weights = nn.Linear(width, 3 * width, bias=False)
        self.residual_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each position finds in those up to its own, (batch, time, width)."""
        query, key, value = self.batch_attn_weights(x).chunk(3, dim=-1)
        output: Tensor = self.residual_proj(attend(query, key, value, self.heads))
        return output


class CrossAttention(nn.Module):
    """Causal multi-head attention from decoder states to encoder states."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_weights = nn.Linear(width, width, bias=False)
        self.k_v_weights = nn.Linear(width, 2 * width, bias=False)
        self.residual_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        """Return what each position finds in encoder states up to its own, (batch, time, width)."""
        key, value = self.k_v_weights(encoded).chunk(2, dim=-1)
        output: Tensor = self.residual_proj(attend(self.q_weights(x), key, value, self.heads))
        return output


class FeedForward(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4 * width, bias=False)
        self.residual_proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position by itself."""
        output: Tensor = self.residual_proj(F.gelu(self.linear(x)))
        return output


class EncoderBlock(nn.Module):
    """A pre-norm layer of the encoder, and of the baseline."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.multi_attn_head = SelfAttention(width, heads)
        self.feed_forward = FeedForward(width)
        self.ln1, self.ln2 = gain_norm(width), gain_norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Add what attention and feed-forward find."""
        x = x + self.multi_attn_head(self.ln1(x))
        output: Tensor = x + self.feed_forward(self.ln2(x))
        return output


class DecoderBlock(nn.Module):
    """A pre-norm layer of the decoder."""

    def __init__(self, width: int, heads: int, cross_heads: int) -> None:
        super().__init__()
        self.decoder_multi_attn_head = SelfAttention(width, heads)
        self.cross_multi_attn_head = CrossAttention(width, cross_heads)
        self.decoder_feed_forward = FeedForward(width)
        self.decoder_ln1, self.decoder_ln2 = gain_norm(width), gain_norm(width)
        self.decoder_cross_ln, self.encoder_cross_ln = gain_norm(width), gain_norm(width)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        """Add what the two attentions and the feed-forward find."""
        x = x + self.decoder_multi_attn_head(self.decoder_ln1(x))
        x = x + self.cross_multi_attn_head(self.decoder_cross_ln(x), self.encoder_cross_ln(encoded))
        output: Tensor = x + self.decoder_feed_forward(self.decoder_ln2(x))
        return output


class PlainDeepSight(nn.Module):
    """The published encoder–decoder and the norms of its planning loss.

    Args:
        config: `vocab_size`, `context`, `width`, `heads`, `cross_heads`, `encoder_layers`, `decoder_layers`.

    """

    def __init__(self, config: Mapping[str, int]) -> None:
        super().__init__()
        width, heads = config["width"], config["heads"]
        self.token_embedding = nn.Embedding(config["vocab_size"], width)
        self.positional_embedding = nn.Embedding(config["context"], width)
        self.encoder_transformer_blocks = nn.ModuleList(
            EncoderBlock(width, heads) for _ in range(config["encoder_layers"])
        )
        self.decoder_feed_forward = nn.Linear(width, width, bias=False)
        self.decoder_transformer_blocks = nn.ModuleList(
            DecoderBlock(width, heads, config["cross_heads"]) for _ in range(config["decoder_layers"])
        )
        self.ln = gain_norm(width)
        self.encoder_out_ln = nn.LayerNorm(width)
        self.planning_context_ln_1 = nn.LayerNorm(width)
        self.planning_context_ln_2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return input embeddings, raw encoder output and logits of tokens, (batch, time)."""
        embedded = self.token_embedding(tokens) + self.positional_embedding.weight[: tokens.shape[1]]
        encoded = embedded
        for block in self.encoder_transformer_blocks:
            encoded = block(encoded)
        x = self.decoder_feed_forward(encoded)
        for block in self.decoder_transformer_blocks:
            x = block(x, encoded)
        return embedded, encoded, self.ln(x) @ self.token_embedding.weight.T

    def planning_loss(self, embedded: Tensor, encoded: Tensor, case: Mapping[str, str], n: int) -> Tensor:
        """Return the planning loss of one case, such as `PUBLISHED`, with horizon n."""
        embedded = embedded.detach()
        if case["layer_norm"] in ("PRE_AGGR", "BOTH"):
            embedded = self.planning_context_ln_1(embedded)
        time, dtype, device = embedded.shape[1], embedded.dtype, embedded.device
        future = future_weights(time, n, case["aggregation"]).to(device, dtype) @ embedded
        i = torch.arange(1, time + 1, dtype=dtype, device=device)[:, None]
        present = (torch.ones(time, time, dtype=dtype, device=device).tril() / i) @ embedded
        merged: Tensor = {
            "EQUAL": (present + future) / 2,
            "CONTEXT_SIZE": i / (i + n) * present + n / (i + n) * future,
            "NONE": future,
        }[case["present_future"]]
        if case["layer_norm"] in ("POST_AGGR", "BOTH"):
            merged = self.planning_context_ln_2(merged)
        prediction, target = self.encoder_out_ln(encoded)[:, : time - n], merged[:, : time - n]
        if case["distance"] == "MSE":
            return F.mse_loss(prediction, target)
        norms = prediction.norm(dim=-1) * target.norm(dim=-1)
        share: Tensor = ((prediction * target).sum(-1) / norms + 1) / 2
        return (1 - share).mean() if case["distance"] == "COSINE" else -share.log().mean()

    def loss(self, tokens: Tensor, targets: Tensor, n: int = 11) -> Tensor:
        """Return cross-entropy plus the published planning loss."""
        embedded, encoded, logits = self(tokens)
        return cross_entropy(logits, targets) + self.planning_loss(embedded, encoded, PUBLISHED, n)


class PlainBaseline(nn.Module):
    """The published decoder-only transformer, with as many layers as encoder and decoder together."""

    def __init__(self, config: Mapping[str, int]) -> None:
        super().__init__()
        width, layers = config["width"], config["encoder_layers"] + config["decoder_layers"]
        self.token_embedding = nn.Embedding(config["vocab_size"], width)
        self.positional_embedding = nn.Embedding(config["context"], width)
        self.transformer_blocks = nn.ModuleList(EncoderBlock(width, config["heads"]) for _ in range(layers))
        self.ln = gain_norm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of tokens, (batch, time)."""
        x = self.token_embedding(tokens) + self.positional_embedding.weight[: tokens.shape[1]]
        for block in self.transformer_blocks:
            x = block(x)
        logits: Tensor = self.ln(x) @ self.token_embedding.weight.T
        return logits

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return cross-entropy."""
        return cross_entropy(self(tokens), targets)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Return causal attention of (batch, time, width) queries, keys and values."""
    batch, time, width = query.shape
    query, key, value = (part.view(batch, time, heads, width // heads).transpose(1, 2) for part in (query, key, value))
    scores = query @ key.transpose(-2, -1) / math.sqrt(width // heads)
    hidden = torch.ones(time, time, dtype=torch.bool, device=scores.device).triu(1)
    weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)
    return (weights @ value).transpose(1, 2).reshape(batch, time, width)


def gain_norm(width: int) -> nn.LayerNorm:
    """Return a layer norm with a gain and no bias."""
    return nn.LayerNorm(width, eps=1e-5, bias=False)


@functools.cache
def future_weights(time: int, n: int, aggregation: str) -> Tensor:
    """Return the (time × time) matrix whose row i holds the weights of positions i + 1 … i + n."""
    weights = torch.zeros(time, time)
    for k in range(1, n + 1):
        weights += torch.diag(torch.full((max(time - k, 0),), 1 / n if aggregation == "AVG" else 1 / k), k)[
            :time, :time
        ]
    return weights / sum(1 / k for k in range(1, n + 1)) if aggregation == "DECAY_W_NORMALIZE" else weights


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean next-token cross-entropy of (batch, time, vocabulary) logits."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def initialise(model: nn.Module, encoder_layers: int) -> None:
    """Draw the weights as the original does: std 0.02, less for projections into the residual stream."""
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            std = 0.02 / math.sqrt(2 * encoder_layers) if "residual_proj" in name else 0.02
            nn.init.normal_(weight, 0.0, std)


@torch.no_grad()
def generated(model: nn.Module, prompt: Tensor, count: int, context: int) -> Tensor:
    """Return `count` tokens after a prompt, (batch, count), drawn at temperature 1; everything is read at each step."""
    tokens = prompt
    for _ in range(count):
        said = model(tokens[:, -context:])
        logits = said[-1] if isinstance(said, tuple) else said
        tokens = torch.cat([tokens, torch.multinomial(logits[:, -1].softmax(dim=-1), 1)], dim=1)
    return tokens[:, prompt.shape[1] :]
