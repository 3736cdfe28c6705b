"""Attention: one function, two backends.

xformers' memory-efficient attention on an A100, torch's scaled dot-product attention anywhere else, and where an
xformers that is installed cannot run: a build for another torch or CUDA imports, and has no operator. Which one runs is
chosen by the device, or forced with `use_backend`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from deepsight.errors import UserError
from deepsight.myopia import OwnFirst, is_myopic

Backend = Literal["auto", "sdpa", "xformers"]

WIDTH_MULTIPLE = 8
"""xformers' kernels need a head width that is a multiple of this in half precision."""

A100 = (8, 0)
"""The compute capability of an A100."""

_forced: Backend = "auto"
_obstacles: dict[tuple[str, torch.dtype, int, bool, bool], str | None] = {}
"""What keeps xformers from running, for each kind of tensors that was asked about."""


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
    """Return the backend that runs on `device` now: what is forced; else xformers on an A100, torch's anywhere else.

    Both take the same tensors. On an H100 torch's is the faster one (`deepsight bench attention --device cuda`).

    Raises:
        UserError: xformers is forced and the device is not CUDA.

    """
    if _forced == "xformers" and device.type != "cuda":
        raise UserError(f"the attention backend xformers runs on CUDA only, not on {device.type}; known: auto, sdpa")
    if _forced != "auto":
        return _forced
    return "xformers" if device.type == "cuda" and _is_a100(device) and _xformers_is_installed() else "sdpa"


def attend(
    query: Float[Tensor, "batch queries heads head_width"],
    key: Float[Tensor, "batch keys heads head_width"],
    value: Float[Tensor, "batch keys heads head_width"],
    *,
    causal: bool = True,
    dropout: float = 0.0,
    visible: Bool[Tensor, "*rows queries keys"] | None = None,
    meets_itself: bool = True,
) -> Float[Tensor, "batch queries heads head_width"]:
    """Return softmax(q kᵀ / √head_width) v (Vaswani et al., 2017, eq. 1).

    Where attention is causal, the last query stands at the last key: query i sees keys 0 … i + (keys - queries). With
    as many queries as keys this is the usual triangle; with fewer, the earlier keys come from a cache. Where it is not,
    every query sees all keys. In a block of `deepsight.myopia.myopic` no gradient reaches keys and values of other
    positions than the query's.

    Args:
        query, key, value: where attention is causal, keys are never fewer than queries.
        causal: whether a query sees no key after its own.
        dropout: probability of dropping an attention weight.
        visible: which keys each query sees, in place of the causal order; torch's attention runs then.
        meets_itself: whether the keys have one of each query's own position; then the last query stands at the last
            key, also where attention is not causal.

    """
    if not is_myopic():
        return _attend(query, key, value, causal, dropout, visible)
    if not meets_itself:
        return _attend(query, key.detach(), value.detach(), causal, dropout, visible)
    parts, scale = OwnFirst.of(query, key, value, causal, visible), query.shape[-1] ** -0.5
    return parts.joined(_attend(parts.query, parts.key, parts.value, causal, dropout, parts.visible, scale))


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    dropout: float,
    visible: Tensor | None,
    scale: float | None = None,
) -> Tensor:
    if visible is not None:
        return _sdpa(query, key, value, False, dropout, scale, visible)
    if chosen_backend(query.device) == "xformers" and _xformers_takes(query, key, value, dropout):
        return _xformers(query, key, value, causal, dropout, scale)
    return _sdpa(query, key, value, causal, dropout, scale)


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
    if query.stride(-1) != 1:
        # As a product with one row leaves it; torch's fast attention would not take it.
        query = query.contiguous()
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


def _xformers(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, dropout: float, scale: float | None = None
) -> Tensor:
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
        scale=width**-0.5 if scale is None else scale,
    )
    return output.narrow(-1, 0, width)


def _xformers_takes(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> bool:
    """Say whether xformers can attend to such tensors here; the first time that it cannot, warn.

    Raises:
        UserError: xformers is forced, and cannot.

    """
    gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    reason = _obstacle(query.device.type, _dtype_of(query), query.shape[-1], dropout > 0, gradient)
    if reason is None:
        return True
    if _forced == "xformers":
        raise UserError(f"the attention backend xformers cannot run here: {reason}; known: auto, sdpa")
    return False


def obstacle(device: torch.device, dtype: torch.dtype, width: int, *, gradient: bool) -> str | None:
    """Return why xformers cannot attend over heads of a width on `device`, None if it can."""
    if device.type != "cuda":
        return f"it runs on CUDA only, not on {device.type}"
    found: str | None = _obstacle(device.type, dtype, width, False, gradient)
    return found


def _dtype_of(tensor: Tensor) -> torch.dtype:
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _obstacle(device: str, dtype: torch.dtype, width: int, drops: bool, gradient: bool) -> str | None:
    """Return why none of xformers' operators takes causal attention over heads of this width, None if one does."""
    asked = (device, dtype, width, drops, gradient)
    if asked not in _obstacles:
        _obstacles[asked] = _found_obstacle(*asked)
    return _obstacles[asked]


def _found_obstacle(device: str, dtype: torch.dtype, width: int, drops: bool, gradient: bool) -> str | None:
    from xformers.ops import fmha

    width += -width % WIDTH_MULTIPLE
    query, key, value = (torch.empty(1, 16, 1, width, dtype=dtype, device=device) for _ in range(3))
    inputs = fmha.Inputs(query, key, value, fmha.attn_bias.LowerTriangularMask(), p=0.1 if drops else 0.0)
    families = (fmha.flash3, fmha.flash, fmha.cutlass)
    for way in ("FwOp", "BwOp") if gradient else ("FwOp",):
        operators = [getattr(family, way) for family in families]
        reasons = {operator.NAME: operator.not_supported_reasons(inputs) for operator in operators}
        if all(reasons.values()):
            reason = "; ".join(f"{name}: {why[-1]}" for name, why in reasons.items())
            if _forced == "auto":
                warnings.warn(f"xformers cannot run here, torch's attention does instead ({reason})", stacklevel=2)
            return reason
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_a100(device: torch.device) -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device) == A100


def _xformers_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("xformers") is not None
