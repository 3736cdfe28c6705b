"""One optimiser step's worth of forward and backward, apart from the loop and free of files."""

from __future__ import annotations

import contextlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.building import Objectives
from deepsight.loss import next_token_loss
from deepsight.random_streams import derive
from deepsight.trace import IGNORED

Scalar = Float[Tensor, ""]


def accumulate_gradients(
    model: Architecture,
    objectives: Objectives,
    inputs: Int[Tensor, "batch time"],
    targets: Int[Tensor, "batch time"],
    *,
    seed: int,
    step: int,
    micro_batch_size: int | None = None,
    autocast: contextlib.AbstractContextManager[object] | None = None,
) -> dict[str, Scalar]:
    """Add the gradients of next-token loss + Σ coefficient · objective to the parameters, micro-batch by micro-batch.

    Dropout and each objective draw from streams of (seed, step, micro-batch), so what one of them draws moves no other.

    Returns:
        `next_token`, and every objective's metrics as ``label/metric``: means over the batch, detached.

    """
    counted = (targets != IGNORED).sum()
    metrics: dict[str, Scalar] = {}
    batch = inputs.shape[0]
    rows = micro_batch_size or batch
    pairs = zip(torch.split(inputs, rows), torch.split(targets, rows), strict=True)
    for position, (part_inputs, part_targets) in enumerate(pairs):
        torch.manual_seed(derive(seed, "dropout", step, position))
        with autocast or contextlib.nullcontext():
            trace = model(part_inputs, part_targets)
            next_token = next_token_loss(trace)
            said = objectives.losses(trace, seed, step, position)
        tokens_share = (part_targets != IGNORED).sum().double() / counted
        batch_share = part_inputs.shape[0] / batch
        total = tokens_share * next_token
        for label, parts in said.items():
            total = total + batch_share * objectives.coefficients[label] * parts["loss"]
        torch.autograd.backward(total)
        _add(metrics, "next_token", tokens_share * next_token)
        for label, parts in said.items():
            for name, value in parts.items():
                _add(metrics, f"{label}/{name}", batch_share * value)
    return metrics


def _add(metrics: dict[str, Scalar], name: str, value: Tensor) -> None:
    value = value.detach().float()
    metrics[name] = metrics[name] + value if name in metrics else value
