"""The published systems once more, in the plainest PyTorch, under the original names.

Full logits, a softmax written out, and future weights as a dense (time × time) matrix. It shares no line with the
product, so a folder written by it is a second witness, of any shape.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

AGGREGATIONS = ("AVG", "DECAY", "DECAY_W_NORMALIZE")
MERGES = ("EQUAL", "CONTEXT_SIZE", "NONE")
LAYER_NORMS = ("NONE", "PRE_AGGR", "POST_AGGR", "BOTH")
DISTANCES = ("MSE", "COSINE", "LOG_COSINE")
COMBINATIONS = list(itertools.product(LAYER_NORMS, AGGREGATIONS, MERGES, DISTANCES))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Causal attention of (B, T, C) queries, keys and values, head by head."""
    outputs = []
    size = query.shape[-1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(size)
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        outputs.append(torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ value[..., part])
    return torch.cat(outputs, dim=-1)


def gain_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-5, bias=False)


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.batch_attn_weights = nn.Linear(width, 3 * width, bias=False)
        self.residual_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual_proj(attend(*self.batch_attn_weights(x).chunk(3, dim=-1), self.heads))


class CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_weights = nn.Linear(width, width, bias=False)
        self.k_v_weights = nn.Linear(width, 2 * width, bias=False)
        self.residual_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        return self.residual_proj(attend(self.q_weights(x), *self.k_v_weights(encoded).chunk(2, dim=-1), self.heads))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4 * width, bias=False)
        self.residual_proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.residual_proj(x * 0.5 * (1 + torch.erf(x / math.sqrt(2))))


class EncoderBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.multi_attn_head = SelfAttention(width, heads)
        self.feed_forward = FeedForward(width)
        self.ln1, self.ln2 = gain_norm(width), gain_norm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.multi_attn_head(self.ln1(x))
        return x + self.feed_forward(self.ln2(x))


class DecoderBlock(nn.Module):
    def __init__(self, width: int, heads: int, cross_heads: int) -> None:
        super().__init__()
        self.decoder_multi_attn_head = SelfAttention(width, heads)
        self.cross_multi_attn_head = CrossAttention(width, cross_heads)
        self.decoder_feed_forward = FeedForward(width)
        self.decoder_ln1, self.decoder_ln2 = gain_norm(width), gain_norm(width)
        self.decoder_cross_ln, self.encoder_cross_ln = gain_norm(width), gain_norm(width)

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        x = x + self.decoder_multi_attn_head(self.decoder_ln1(x))
        x = x + self.cross_multi_attn_head(self.decoder_cross_ln(x), self.encoder_cross_ln(encoded))
        return x + self.decoder_feed_forward(self.decoder_ln2(x))


class PlainDeepSight(nn.Module):
    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        width, heads = config["width"], config["heads"]
        self.token_embedding = nn.Embedding(config["vocab_size"], width)
        self.positional_embedding = nn.Embedding(config["context"], width)
        self.encoder_transformer_blocks = nn.ModuleList(
            [EncoderBlock(width, heads) for _ in range(config["encoder_layers"])]
        )
        self.decoder_feed_forward = nn.Linear(width, width, bias=False)
        self.decoder_transformer_blocks = nn.ModuleList(
            [DecoderBlock(width, heads, config["cross_heads"]) for _ in range(config["decoder_layers"])]
        )
        self.ln = gain_norm(width)
        self.encoder_out_ln = nn.LayerNorm(width)
        self.planning_context_ln_1 = nn.LayerNorm(width)
        self.planning_context_ln_2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return input embeddings, raw encoder output and logits."""
        embedded = self.token_embedding(tokens) + self.positional_embedding.weight[: tokens.shape[1]]
        encoded = embedded
        for block in self.encoder_transformer_blocks:
            encoded = block(encoded)
        x = self.decoder_feed_forward(encoded)
        for block in self.decoder_transformer_blocks:
            x = block(x, encoded)
        return embedded, encoded, self.ln(x) @ self.token_embedding.weight.T

    def planning_loss(self, embedded: Tensor, encoded: Tensor, case: dict[str, Any], n: int) -> Tensor:
        embedded = embedded.detach()
        if case["layer_norm"] in ("PRE_AGGR", "BOTH"):
            embedded = self.planning_context_ln_1(embedded)
        time = embedded.shape[1]
        future = future_weights(time, n, case["aggregation"]).to(embedded.dtype) @ embedded
        present = (torch.ones(time, time).tril() / torch.arange(1, time + 1)[:, None]).to(embedded.dtype) @ embedded
        i = torch.arange(1, time + 1, dtype=embedded.dtype)[:, None]
        merged = {
            "EQUAL": (present + future) / 2,
            "CONTEXT_SIZE": i / (i + n) * present + n / (i + n) * future,
            "NONE": future,
        }[case["present_future"]]
        if case["layer_norm"] in ("POST_AGGR", "BOTH"):
            merged = self.planning_context_ln_2(merged)
        prediction, target = self.encoder_out_ln(encoded)[:, : time - n], merged[:, : time - n]
        if case["distance"] == "MSE":
            return ((prediction - target) ** 2).mean()
        norms = prediction.norm(dim=-1) * target.norm(dim=-1)
        share = ((prediction * target).sum(-1) / norms + 1) / 2
        return (1 - share).mean() if case["distance"] == "COSINE" else -share.log().mean()


class PlainBaseline(nn.Module):
    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        width = config["width"]
        self.token_embedding = nn.Embedding(config["vocab_size"], width)
        self.positional_embedding = nn.Embedding(config["context"], width)
        layers = config["encoder_layers"] + config["decoder_layers"]
        self.transformer_blocks = nn.ModuleList([EncoderBlock(width, config["heads"]) for _ in range(layers)])
        self.ln = gain_norm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding.weight[: tokens.shape[1]]
        for block in self.transformer_blocks:
            x = block(x)
        return self.ln(x) @ self.token_embedding.weight.T


@functools.cache
def future_weights(time: int, n: int, aggregation: str) -> Tensor:
    """Return the (time × time) matrix whose row i holds the weights of positions i + 1 … i + n."""
    weights = torch.zeros(time, time)
    for i in range(time):
        for k in range(1, n + 1):
            if i + k < time:
                weights[i, i + k] = 1 / n if aggregation == "AVG" else 1 / k
    return weights / sum(1 / k for k in range(1, n + 1)) if aggregation == "DECAY_W_NORMALIZE" else weights


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=-1).gather(-1, targets[..., None]).mean()


def computed_case(model: PlainDeepSight, data: dict[str, Tensor], case: dict[str, Any], n: int) -> dict[str, Any]:
    """Return losses and the gradient norm of every parameter that takes part."""
    model.zero_grad(set_to_none=True)
    embedded, encoded, logits = model(data["tokens"])
    planning = model.planning_loss(embedded, encoded, case, n)
    entropy = cross_entropy(logits, data["targets"])
    (planning + entropy).backward()
    return {
        "planning_loss": planning.item(),
        "cross_entropy": entropy.item(),
        "total": (planning + entropy).item(),
        "grad_norms": {
            name: weight.grad.norm().item() for name, weight in model.named_parameters() if weight.grad is not None
        },
    }


def write_folder(folder: Path, config: dict[str, int], seed: int) -> None:
    """Write `deepsight.json`, `deepsight.safetensors` and `baseline.safetensors` for random weights of any shape."""
    torch.manual_seed(seed)
    shape = (config["batch"], config["context"])
    data = {name: torch.randint(config["vocab_size"], shape) for name in ("tokens", "targets")}
    deepsight, baseline = PlainDeepSight(config), PlainBaseline(config)
    for weight in (*deepsight.parameters(), *baseline.parameters()):
        nn.init.normal_(weight, mean=0.0 if weight.ndim == 2 else 0.8, std=0.2)
    names = ("layer_norm", "aggregation", "present_future", "distance")
    chosen = [dict(zip(names, combination, strict=True)) for combination in COMBINATIONS]
    cases = [case | computed_case(deepsight, data, case, config["n"]) for case in chosen]
    (folder / "deepsight.json").write_text(json.dumps({"config": config, "cases": cases}), encoding="utf-8")
    with torch.no_grad():
        logits = deepsight(data["tokens"])[2]
        baseline_logits = baseline(data["tokens"])
        entropy = cross_entropy(baseline_logits, data["targets"]).reshape(1)
    _save(folder / "deepsight.safetensors", deepsight, {**data, "logits": logits})
    _save(folder / "baseline.safetensors", baseline, {**data, "logits": baseline_logits, "cross_entropy": entropy})


def _save(file: Path, model: nn.Module, data: dict[str, Tensor]) -> None:
    save_file({**model.state_dict(), **{f"__{name}": tensor for name, tensor in data.items()}}, file)
