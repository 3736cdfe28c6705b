"""The baseline as plain GPT-2 weights: the same network, whose biases are zero."""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from deepsight.architecture import Architecture
from deepsight.layers import NORM_EPSILON

NAMES = {
    "embedding.token": "transformer.wte",
    "embedding.position": "transformer.wpe",
    "final_norm": "transformer.ln_f",
}
"""Modules outside the blocks: ours → GPT-2's."""

BLOCK_NAMES = {
    "attention_norm": "ln_1",
    "attention.query_key_value": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.output": "mlp.c_proj",
}
"""Modules of a block: ours → GPT-2's."""


def fits_gpt2(model: Architecture) -> bool:
    """Return whether a network is a GPT-2 in all but its biases: a baseline with learned positions."""
    return model.config.architecture_name == "baseline" and model.config.positions == "learned"


def as_gpt2(model: Architecture, end_of_text: int | None = None) -> GPT2LMHeadModel:
    """Return a baseline as GPT-2 (Radford et al., 2019), with the same logits.

    Args:
        model: one that `fits_gpt2`.
        end_of_text: the token that ends a text.

    """
    config = model.config
    settings = GPT2Config(
        vocab_size=model.vocabulary,
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        n_inner=config.feed_forward_width,
        activation_function="gelu",
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=config.dropout,
        layer_norm_epsilon=NORM_EPSILON,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        pad_token_id=end_of_text,
    )
    network = GPT2LMHeadModel(settings)
    ours = {gpt2_name(name): tensor for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for name, theirs in network.named_parameters():
            if name.endswith("bias"):
                theirs.zero_()
            else:
                # GPT-2 keeps its linear maps the other way round.
                theirs.copy_(ours[name].T if ".c_" in name else ours[name])
    return network.eval()


def gpt2_name(name: str) -> str:
    """Return what GPT-2 calls one of our tensors."""
    module, _, kind = name.rpartition(".")
    if module in NAMES:
        return f"{NAMES[module]}.{kind}"
    _, block, part = module.split(".", 2)
    return f"transformer.h.{block}.{BLOCK_NAMES[part]}.{kind}"
