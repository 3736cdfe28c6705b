"""Activation checkpointing: layers keep their inputs alone, and compute again what their backward pass needs."""

from __future__ import annotations

import functools

from torch.utils.checkpoint import checkpoint

from deepsight.architecture import Architecture


def recompute_layers(model: Architecture) -> None:
    """Let each layer of a model forget what is inside it (Chen et al., 2016): less memory for a second forward pass.

    Dropout draws the same again, and the numbers are the same. Without gradients nothing changes.
    """
    for layer in model.stacked_layers():
        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
