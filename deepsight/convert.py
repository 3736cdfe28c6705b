"""Weights of the original 2024 implementations, read under our names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.encoder_decoder import NAME as SIBLING
from deepsight.encoder_decoder import reads_next_position
from deepsight.errors import UserError
from deepsight.files import new_folder
from deepsight.original_names import OBJECTIVE_NORMS, our_name
from deepsight.plug_ins import architectures
from deepsight.presets import preset
from deepsight.registry import Spec
from deepsight.training.checkpoint import write_tensors
from deepsight.training.names import CHECKPOINT_FILE
from deepsight.validation import validated

GPT2_VOCABULARY = 50_257
PUBLISHED = ("deepsight-paper", "baseline-paper", "smaller-baseline-paper", "encoder-decoder-paper")

BRIDGE_NORM, SUBTRACTION_NORM, TARGET_NORM = "bridge_norm.weight", "subtraction_norm.weight", "target_norm.weight"
"""Tensors that only the sibling has."""


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


def sibling_of(network: Mapping[str, Tensor], norms: Mapping[str, Tensor], said: Mapping[str, Any]) -> Spec | None:
    """Return the architecture of a sibling's weights, or None where nothing says that they are a sibling's.

    What `said` leaves open is what the weights show (the optional norms), else the published choice. A sibling without
    optional norms and without its loss has the names of a DeepSight: only `said` can tell them apart.

    Args:
        network, norms: as read.
        said: parameters of `encoder_decoder` that are known.

    Raises:
        UserError: a parameter is unknown or has a wrong value.

    """
    shows = BRIDGE_NORM in network or SUBTRACTION_NORM in network or TARGET_NORM in norms
    if not said and not shows:
        return None
    shown: Spec = {"bridge_norm": BRIDGE_NORM in network}
    if SUBTRACTION_NORM in network:
        shown["subtract_positions"] = "normed"
    return architectures.resolve({"name": SIBLING, **shown, **said})


def model_config(
    network: Mapping[str, Tensor], heads: int, cross_heads: int | None, sibling: Spec | None = None
) -> ModelConfig:
    """Return the configuration that the shapes of converted tensors show; numbers of heads leave no trace in them.

    Args:
        network: tensors under our names.
        heads, cross_heads: of the model.
        sibling: the architecture where the weights are a sibling's.

    Raises:
        UserError: an embedding is missing, the heads do not divide the width, or a baseline's weights are called a
            sibling's.

    """
    try:
        width = network["embedding.token.weight"].shape[1]
        positions = network["embedding.position.weight"].shape[0]
    except KeyError as error:
        raise UserError(f"the original weights lack {error.args[0]!r}") from None
    depths = {
        stack: 1 + max((int(n.split(".")[1]) for n in network if n.startswith(f"{stack}.")), default=-1)
        for stack in ("encoder", "decoder", "blocks")
    }
    shape: dict[str, Any] = {"width": width, "context": positions, "heads": heads}
    if depths["blocks"]:
        if sibling:
            raise UserError(f"these weights are a baseline's, with one stack of layers, and not of {SIBLING}")
        return validated(ModelConfig, {"architecture": "baseline", "layers": depths["blocks"], **shape})
    shape |= {"layers": [depths["encoder"], depths["decoder"]], "cross_heads": cross_heads or heads}
    if sibling and reads_next_position(sibling):
        shape["context"] = positions - 1
    return validated(ModelConfig, {"architecture": sibling or "deepsight", **shape})


def published_heads(config: ModelConfig) -> tuple[int, int | None] | None:
    """Return (heads, cross heads) where architecture, width and depths are those of a published preset, else None."""
    found = (config.architecture_name, config.layers, config.width)
    for name in PUBLISHED:
        shape = preset(name)["model"]
        if found == (shape["architecture"], shape["layers"], shape["width"]):
            return shape["heads"], shape["cross_heads"]
    return None


def convert(
    original: Path,
    out: Path,
    heads: int | None = None,
    cross_heads: int | None = None,
    sibling: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Write a folder with a checkpoint of ours that holds an original model's weights.

    Args:
        original: safetensors with the original names.
        out: a new or empty folder.
        heads, cross_heads: needed where the shape is not a published one.
        sibling: what is known of a sibling's parameters (see `sibling_of`).

    Returns:
        The configuration of the converted model.

    Raises:
        UserError: the weights cannot be read or do not fit, the heads are not known, or `out` is not empty.

    """
    network, norms = read_original(original)
    architecture = sibling_of(network, norms, sibling or {})
    if heads is None:
        known = published_heads(model_config(network, 1, 1, architecture))
        if known is None:
            raise UserError(
                f"{original}: the shape is not a published one, so --heads must say how many heads there are"
            )
        heads, cross_heads = known[0], cross_heads or known[1]
    config = model_config(network, heads, cross_heads, architecture)
    model = load_network(network, config)
    about = {
        "model": config.model_dump(mode="json"),
        "vocabulary": model.vocabulary,
        "tokenizer": "gpt2" if model.vocabulary == GPT2_VOCABULARY else None,
        "converted_from": original.name,
    }
    objective = {f"parts.{model.default_objective}.{name}": tensor for name, tensor in norms.items()}
    with new_folder(out) as folder:
        write_tensors(folder / CHECKPOINT_FILE, about, model.state_dict(), objective)
    return config


def load_network(network: Mapping[str, Tensor], config: ModelConfig) -> Architecture:
    """Return a model of that configuration holding converted tensors.

    A sibling's optional norms are left out where its parameters are without them.

    Raises:
        UserError: a tensor is missing, left over, or of another shape.

    """
    vocabulary = network["embedding.token.weight"].shape[0]
    with torch.device("meta"):
        model = architectures.build(config.architecture, config=config, vocabulary=vocabulary)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.architecture_name == SIBLING:
        unused = {BRIDGE_NORM, SUBTRACTION_NORM} - expected.keys()
        network = {name: value for name, value in network.items() if name not in unused}
    given = {name: tuple(value.shape) for name, value in network.items()}
    wrong = sorted(set(expected.items()) ^ set(given.items()))
    if wrong:
        name = wrong[0][0]
        raise UserError(
            f"the original weights do not fit: {name} has shape {given.get(name)}, expected {expected.get(name)}"
        )
    model.load_state_dict(network, assign=True)
    return model
