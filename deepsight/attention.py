"""Attention: one function, two backends.

xformers' memory-efficient attention on CUDA, torch's scaled dot-product attention anywhere. Which one runs is chosen by
the device, or forced with `use_backend`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from deepsight.errors import UserError

Backend = Literal["auto", "sdpa", "xformers"]

WIDTH_MULTIPLE = 8
"""xformers' kernels need a head width that is a multiple of this in half precision."""

_forced: Backend = "auto"


@contextlib.contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Force a backend inside a ``with`` block; ``auto`` chooses by the device of the tensors.

    Raises:
        UserError: xformers is asked for and is not installed.

    """
    global _forced
    if backend == "xformers" and not _xformers_is_installed():
        raise UserError("the attention backend xformers is not installed; known: auto, sdpa")
    before, _forced = _forced, backend
    try:
        yield
    finally:
        _forced = before


def chosen_backend(device: torch.device) -> Literal["sdpa", "xformers"]:
    """Return the backend that runs on `device` now.

    Raises:
        UserError: xformers is forced and the device is not CUDA.

    """
    if _forced == "xformers" and device.type != "cuda":
        raise UserError(f"the attention backend xformers runs on CUDA only, not on {device.type}; known: auto, sdpa")
    if _forced != "auto":
        return _forced
    return "xformers" if device.type == "cuda" and _xformers_is_installed() else "sdpa"


def attend(
    query: Float[Tensor, "batch queries heads head_width"],
    key: Float[Tensor, "batch keys heads head_width"],
    value: Float[Tensor, "batch keys heads head_width"],
    *,
    causal: bool = True,
    dropout: float = 0.0,
    visible: Bool[Tensor, "queries keys"] | None = None,
) -> Float[Tensor, "batch queries heads head_width"]:
    """Return softmax(q kᵀ / √head_width) v (Vaswani et al., 2017, eq. 1).

    Where attention is causal, the last query stands at the last key: query i sees keys 0 … i + (keys - queries). With
    as many queries as keys this is the usual triangle; with fewer, the earlier keys come from a cache. Where it is not,
    every query sees all keys.

    Args:
        query, key, value: where attention is causal, keys are never fewer than queries.
        causal: whether a query sees no key after its own.
        dropout: probability of dropping an attention weight.
        visible: which keys each query sees, in place of the causal order; torch's attention runs then.

    """
    if visible is not None:
        return _sdpa(query, key, value, False, dropout, visible=visible)
    if chosen_backend(query.device) == "xformers":
        return _xformers(query, key, value, causal, dropout)
    return _sdpa(query, key, value, causal, dropout)


def padded_to_multiple(
    tensor: Float[Tensor, "batch time heads head_width"], multiple: int = WIDTH_MULTIPLE
) -> Float[Tensor, "batch time heads padded_width"]:
    """Pad the head width with zeros up to a multiple; zeros change neither dot products nor the kept outputs."""
    missing = -tensor.shape[-1] % multiple
    return F.pad(tensor, (0, missing)) if missing else tensor


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool = True,
    dropout: float = 0.0,
    scale: float | None = None,
    visible: Tensor | None = None,
) -> Tensor:
    queries, keys = query.shape[1], key.shape[1]
    mask = visible
    if causal and 1 < queries < keys:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
    output = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=causal and queries == keys,
        scale=scale,
    )
    return output.transpose(1, 2)


def _xformers(query: Tensor, key: Tensor, value: Tensor, causal: bool, dropout: float) -> Tensor:
    # Imported here: on a CPU build the import itself prints a warning.
    from xformers.ops import fmha

    width = query.shape[-1]
    mask = None
    if causal and query.shape[1] == key.shape[1]:
        mask = fmha.attn_bias.LowerTriangularMask()
    elif causal:
        mask = fmha.attn_bias.LowerTriangularFromBottomRightMask()
    output: Tensor = fmha.memory_efficient_attention(
        padded_to_multiple(query),
        padded_to_multiple(key),
        padded_to_multiple(value),
        attn_bias=mask,
        p=dropout,
        scale=width**-0.5,
    )
    return output.narrow(-1, 0, width)


def _xformers_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("xformers") is not None
