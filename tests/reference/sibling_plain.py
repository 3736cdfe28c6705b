"""The published sibling once more, in the plainest PyTorch, under the original names.

Built from the parts of `benchmarks.original`; it shares no line with the product, so a folder written by it is a
second witness.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.original import DecoderBlock, EncoderBlock, cross_entropy, gain_norm

ORDERS, SUBTRACTIONS, SWITCH = ("ORIGINAL", "ALT"), ("NO", "YES_NO_LN", "YES_LN"), (False, True)
LOSSES = ("MSE", "COSINE", "LOG_COSINE")
DETACHED, NORMS = ("NONE", "EMBEDDING", "ENCODER_OUT"), ("NONE", "INIT", "AVG_CUM_SUM")
NETWORK, LOSS = ("order", "sub", "addp", "lnff"), ("useln", "lossT", "det", "eln")
NETWORKS = list(itertools.product(ORDERS, SUBTRACTIONS, SWITCH, SWITCH))
LOSS_COMBINATIONS = list(itertools.product(SWITCH, LOSSES, DETACHED, NORMS))
WITHOUT_LOSS = (None, "NONE", None, None)
FIRST_ATTENTION = "encoder_transformer_blocks.0.multi_attn_head.batch_attn_weights.weight"

Case = dict[str, Any]


class PlainSibling(nn.Module):
    """Every optional part is there, and a case says which of them take part."""

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        width, heads = config["width"], config["heads"]
        self.token_embedding = nn.Embedding(config["vocab_size"], width)
        self.positional_embedding = nn.Embedding(config["context"] + 1, width)
        self.encoder_transformer_blocks = nn.ModuleList(
            [EncoderBlock(width, heads) for _ in range(config["encoder_layers"])]
        )
        self.decoder_feed_forward = nn.Linear(width, width, bias=False)
        self.decoder_transformer_blocks = nn.ModuleList(
            [DecoderBlock(width, heads, config["cross_heads"]) for _ in range(config["decoder_layers"])]
        )
        self.ln, self.ffd_ln, self.post_sub_pos_ln = (gain_norm(width) for _ in range(3))
        self.encoder_out_ln, self.embeddings_ln = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, tokens: Tensor, case: Case) -> tuple[Tensor, Tensor, Tensor]:
        """Return input embeddings, raw encoder output and logits."""
        positions = torch.arange(tokens.shape[1])
        here, there = self.positional_embedding(positions), self.positional_embedding(positions + 1)
        embedded = self.token_embedding(tokens) + here
        encoded = embedded
        for block in self.encoder_transformer_blocks:
            encoded = block(encoded)
        x = self.decoder_feed_forward(self.ffd_ln(encoded) if case["lnff"] else encoded)
        if case["addp"]:
            x = x + there
        for block in self.decoder_transformer_blocks:
            x = decoder_layer(block, x, encoded, case["order"])
        x = self.ln(x)
        if case["sub"] != "NO":
            x = x - there
        if case["sub"] == "YES_LN":
            x = self.post_sub_pos_ln(x)
        return embedded, encoded, x @ self.token_embedding.weight.T

    def embedding_loss(self, embedded: Tensor, encoded: Tensor, case: Case) -> Tensor:
        target = embedded.detach() if case["det"] == "EMBEDDING" else embedded
        prediction = encoded.detach() if case["det"] == "ENCODER_OUT" else encoded
        if case["useln"]:
            prediction = self.encoder_out_ln(prediction)
        if case["eln"] == "INIT":
            target = self.embeddings_ln(target)
        target = torch.stack([target[:, : i + 1].mean(dim=1) for i in range(target.shape[1])], dim=1)
        if case["eln"] == "AVG_CUM_SUM":
            target = self.embeddings_ln(target)
        if case["lossT"] == "MSE":
            return ((prediction - target) ** 2).mean()
        norms = prediction.norm(dim=-1) * target.norm(dim=-1)
        share = ((prediction * target).sum(-1) / norms + 1) / 2
        return (1 - share).mean() if case["lossT"] == "COSINE" else -share.log().mean()


def decoder_layer(block: DecoderBlock, x: Tensor, encoded: Tensor, order: str) -> Tensor:
    """One layer of the decoder, from the block's parts, in either order."""
    for part in ("self", "cross") if order == "ORIGINAL" else ("cross", "self"):
        if part == "self":
            x = x + block.decoder_multi_attn_head(block.decoder_ln1(x))
        else:
            x = x + block.cross_multi_attn_head(block.decoder_cross_ln(x), block.encoder_cross_ln(encoded))
    return x + block.decoder_feed_forward(block.decoder_ln2(x))


def computed_case(model: PlainSibling, data: dict[str, Tensor], case: Case) -> dict[str, Any]:
    """Return losses and gradient norms of one case."""
    model.zero_grad(set_to_none=True)
    embedded, encoded, logits = model(data["tokens"], case)
    entropy = cross_entropy(logits, data["targets"])
    loss = None if case["lossT"] == "NONE" else model.embedding_loss(embedded, encoded, case)
    total = entropy if loss is None else entropy + loss
    total.backward()
    embedding = model.token_embedding.weight.grad
    attention = model.get_parameter(FIRST_ATTENTION).grad
    assert embedding is not None
    assert attention is not None
    return {
        "embedding_loss": None if loss is None else loss.item(),
        "cross_entropy": entropy.item(),
        "total": total.item(),
        "grad_norm_embedding": embedding.norm().item(),
        "grad_norm_first_attention": attention.norm().item(),
    }


def chosen_cases(mixed: int) -> list[Case]:
    """Return every loss on the published network, every network without a loss, and some of both drawn at random."""
    published = ("ORIGINAL", "YES_NO_LN", False, False)
    pairs = [(published, loss) for loss in LOSS_COMBINATIONS] + [(network, WITHOUT_LOSS) for network in NETWORKS]
    draw = random.Random(0)
    pairs += [(draw.choice(NETWORKS), draw.choice(LOSS_COMBINATIONS)) for _ in range(mixed)]
    return [dict(zip(NETWORK + LOSS, network + loss, strict=True)) for network, loss in pairs]


def write_folder(folder: Path, config: dict[str, int], seed: int, mixed: int = 24) -> None:
    """Write `encoder_decoder.json` and `encoder_decoder.safetensors` for random weights of any shape."""
    torch.manual_seed(seed)
    shape = (config["batch"], config["context"])
    data = {name: torch.randint(config["vocab_size"], shape) for name in ("tokens", "targets")}
    model = PlainSibling(config)
    for weight in model.parameters():
        nn.init.normal_(weight, mean=0.0 if weight.ndim == 2 else 0.8, std=0.2)
    cases = [case | computed_case(model, data, case) for case in chosen_cases(mixed)]
    content = {"config": config, "cases": cases}
    (folder / "encoder_decoder.json").write_text(json.dumps(content), encoding="utf-8")
    tensors = {**model.state_dict(), **{f"__{name}": tensor for name, tensor in data.items()}}
    save_file(tensors, folder / "encoder_decoder.safetensors")
