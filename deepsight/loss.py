"""Next-token cross-entropy that never holds the logits of all positions at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deepsight.loss_in_parts import cross_entropy_in_parts
from deepsight.products import linear, multiplies_faster
from deepsight.trace import IGNORED, Trace

ROWS_AT_ONCE = 1024
"""Positions whose logits are held together where torch has no chunked cross-entropy of its own."""

ROWS_AT_ONCE_ON_CPU = 128
"""The same where torch has one, whose own choice is made for GPUs."""


def next_token_loss(trace: Trace) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of the next token over the positions that count, in nats."""
    return linear_cross_entropy(trace.decoder_output.flatten(0, 1), trace.unembedding, trace.targets.flatten())


@torch.no_grad()
def token_losses(trace: Trace) -> Float[Tensor, "batch time"]:
    """Return the cross-entropy of the next token at each position, in nats; 0 where the target is `IGNORED`."""
    hidden, targets = trace.decoder_output.flatten(0, 1), trace.targets.flatten()
    parts = [
        _cross_entropy(rows, trace.unembedding, row_targets, "none")
        for rows, row_targets in zip(torch.split(hidden, ROWS_AT_ONCE), torch.split(targets, ROWS_AT_ONCE), strict=True)
    ]
    return torch.cat(parts).view(trace.targets.shape)


def linear_cross_entropy(
    hidden: Float[Tensor, "positions width"],
    weight: Float[Tensor, "vocabulary width"],
    targets: Int[Tensor, " positions"],
) -> Float[Tensor, ""]:
    """Return the mean of -log softmax(hidden @ weight.T)[target], position chunk by position chunk.

    Positions whose target is `IGNORED` do not count. Gradients flow to `hidden` and `weight`; there is no second
    backward through the same value.
    """
    if torch.is_grad_enabled() and multiplies_faster(hidden, weight):
        return cross_entropy_in_parts(hidden, weight, targets)
    options = _torch_options(hidden.device.type)
    if options is None or not torch.is_grad_enabled():
        return _in_chunks(hidden, weight, targets)
    if torch.is_autocast_enabled(hidden.device.type):
        # The fused operator is outside autocast's list: cast here as autocast would cast a matrix product.
        hidden, weight = (part.to(torch.get_autocast_dtype(part.device.type)) for part in (hidden, weight))
    loss: Tensor = F.linear_cross_entropy(hidden, weight, targets, options=options)
    return loss.to(_at_least_float32(loss))


def _torch_options(device_type: str) -> Any:
    """Return what makes torch's own operator work in chunks, or None on a torch that has no such operator."""
    try:
        from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions
    except ImportError:
        return None
    if device_type == "cpu":
        return LinearCrossEntropyOptions(chunking_method=None, batch_chunk_size=ROWS_AT_ONCE_ON_CPU)
    return LinearCrossEntropyOptions()


def _in_chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    total = hidden.new_zeros((), dtype=_at_least_float32(hidden))
    for rows, row_targets in zip(torch.split(hidden, ROWS_AT_ONCE), torch.split(targets, ROWS_AT_ONCE), strict=True):
        # Nothing random is computed again, so no generator state (5 kB a chunk) needs keeping.
        summed = checkpoint(_cross_entropy, rows, weight, row_targets, use_reentrant=False, preserve_rng_state=False)
        total = total + summed
    return total / (targets != IGNORED).sum()


def _cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
    logits = linear(hidden, weight)
    return F.cross_entropy(logits.to(_at_least_float32(logits)), targets, ignore_index=IGNORED, reduction=reduction)


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
