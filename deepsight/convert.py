"""Weights of the original 2024 implementations, read under our names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.plug_ins import architectures
from deepsight.presets import preset
from deepsight.training.checkpoint import write_tensors
from deepsight.training.names import CHECKPOINT_FILE
from deepsight.validation import validated

GPT2_VOCABULARY = 50_257

# Longer names first: `decoder_feed_forward` is the bridge at the top level and a feed-forward inside a block.
_BLOCKS = [
    (r"encoder_transformer_blocks\.(\d+)\.", r"encoder.\1."),
    (r"decoder_transformer_blocks\.(\d+)\.", r"decoder.\1."),
    (r"transformer_blocks\.(\d+)\.", r"blocks.\1."),
]
_PARTS = {
    "multi_attn_head.batch_attn_weights": "attention.query_key_value",
    "multi_attn_head.residual_proj": "attention.output",
    "decoder_multi_attn_head.batch_attn_weights": "attention.query_key_value",
    "decoder_multi_attn_head.residual_proj": "attention.output",
    "cross_multi_attn_head.q_weights": "cross_attention.query",
    "cross_multi_attn_head.k_v_weights": "cross_attention.key_value",
    "cross_multi_attn_head.residual_proj": "cross_attention.output",
    "feed_forward.linear": "feed_forward.expand",
    "feed_forward.residual_proj": "feed_forward.output",
    "decoder_feed_forward.linear": "feed_forward.expand",
    "decoder_feed_forward.residual_proj": "feed_forward.output",
    "ln1": "attention_norm",
    "ln2": "feed_forward_norm",
    "decoder_ln1": "attention_norm",
    "decoder_ln2": "feed_forward_norm",
    "decoder_cross_ln": "cross_attention_norm",
    "encoder_cross_ln": "encoder_norm",
}
_TOP = {
    "token_embedding": "embedding.token",
    "positional_embedding": "embedding.position",
    "decoder_feed_forward": "bridge",
    "ln": "final_norm",
}
OBJECTIVE_NORMS = {
    "encoder_out_ln": "encoder_norm",
    "planning_context_ln_1": "embedding_norm",
    "planning_context_ln_2": "context_norm",
}
"""Norms of the published objective: original name → name in `objectives.future_context`."""


def our_name(original: str) -> str:
    """Return our name of an original tensor of the network.

    Raises:
        UserError: no original model has a tensor of that name.

    """
    module, _, kind = original.rpartition(".")
    for pattern, block in _BLOCKS:
        match = re.match(pattern, module)
        if match and module[match.end() :] in _PARTS:
            return f"{match.expand(block)}{_PARTS[module[match.end() :]]}.{kind}"
    if module in _TOP:
        return f"{_TOP[module]}.{kind}"
    raise UserError(f"the tensor {original!r} belongs to no original model that can be converted")


def read_original(file: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Read an original weight file (safetensors).

    Returns:
        The network's tensors under our names, and the objective's norms as ``module.weight`` and ``module.bias``.

    Raises:
        UserError: the file cannot be read, or holds a tensor that has no place.

    """
    if not Path(file).is_file():
        raise UserError(f"{file}: there is no such file")
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: this is not a readable safetensors file: {error}") from None
    network: dict[str, Tensor] = {}
    norms: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if name.startswith("__"):
            continue
        if module in OBJECTIVE_NORMS:
            norms[f"{OBJECTIVE_NORMS[module]}.{kind}"] = tensor
        else:
            try:
                network[our_name(name)] = tensor
            except UserError as error:
                raise UserError(f"{file}: {error}") from None
    return network, norms


def model_config(network: dict[str, Tensor], heads: int, cross_heads: int | None) -> ModelConfig:
    """Return the configuration that the shapes of converted tensors show; numbers of heads leave no trace in them.

    Raises:
        UserError: an embedding is missing, or the heads do not divide the width.

    """
    try:
        width = network["embedding.token.weight"].shape[1]
        context = network["embedding.position.weight"].shape[0]
    except KeyError as error:
        raise UserError(f"the original weights lack {error.args[0]!r}") from None
    depths = {
        stack: 1 + max((int(n.split(".")[1]) for n in network if n.startswith(f"{stack}.")), default=-1)
        for stack in ("encoder", "decoder", "blocks")
    }
    shape: dict[str, Any] = {"width": width, "context": context, "heads": heads}
    if depths["blocks"]:
        return validated(ModelConfig, {"architecture": "baseline", "layers": depths["blocks"], **shape})
    shape |= {"layers": [depths["encoder"], depths["decoder"]], "cross_heads": cross_heads or heads}
    return validated(ModelConfig, {"architecture": "deepsight", **shape})


def published_heads(network: dict[str, Tensor]) -> tuple[int, int | None] | None:
    """Return (heads, cross heads) where width and depths are those of a published preset, else None."""
    found = model_config(network, heads=1, cross_heads=1)
    for name in ("deepsight-paper", "baseline-paper", "smaller-baseline-paper"):
        shape = preset(name)["model"]
        if all(getattr(found, key) == shape[key] for key in ("architecture", "layers", "width")):
            return shape["heads"], shape["cross_heads"]
    return None


def convert(original: Path, out: Path, heads: int | None = None, cross_heads: int | None = None) -> ModelConfig:
    """Write a folder with a checkpoint of ours that holds an original model's weights.

    Args:
        original: safetensors with the original names.
        out: a new or empty folder.
        heads, cross_heads: needed where the shape is not a published one.

    Returns:
        The configuration of the converted model.

    Raises:
        UserError: the weights cannot be read or do not fit, the heads are not known, or `out` is not empty.

    """
    network, norms = read_original(original)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: this is not empty; choose a new folder")
    if heads is None:
        known = published_heads(network)
        if known is None:
            raise UserError(
                f"{original}: the shape is not a published one, so --heads must say how many heads there are"
            )
        heads, cross_heads = known[0], cross_heads or known[1]
    config = model_config(network, heads, cross_heads)
    model = load_network(network, config)
    about = {
        "model": config.model_dump(mode="json"),
        "vocabulary": model.vocabulary,
        "tokenizer": "gpt2" if model.vocabulary == GPT2_VOCABULARY else None,
        "converted_from": original.name,
    }
    objective = {f"parts.future_context.{name}": tensor for name, tensor in norms.items()}
    write_tensors(out / CHECKPOINT_FILE, about, model.state_dict(), objective)
    return config


def load_network(network: dict[str, Tensor], config: ModelConfig) -> Architecture:
    """Return a model of that configuration holding converted tensors.

    Raises:
        UserError: a tensor is missing, left over, or of another shape.

    """
    vocabulary = network["embedding.token.weight"].shape[0]
    with torch.device("meta"):
        model = architectures.build(config.architecture, config=config, vocabulary=vocabulary)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in network.items()}
    wrong = sorted(set(expected.items()) ^ set(given.items()))
    if wrong:
        name = wrong[0][0]
        raise UserError(
            f"the original weights do not fit: {name} has shape {given.get(name)}, expected {expected.get(name)}"
        )
    model.load_state_dict(network, assign=True)
    return model
