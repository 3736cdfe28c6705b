"""Matrix products on a CPU: torch's own, or oneDNN's where those are faster.

torch multiplies float32 matrices with MKL, which uses half of what an AMD processor with AVX-512 can do; oneDNN, which
torch has too and uses for convolutions, uses it all. A linear map is a convolution whose kernel covers one place.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from deepsight import machine

Products = Literal["auto", "blas", "onednn"]

FEWEST_ROWS, FEWEST_OPERATIONS = 256, 4_000_000
"""Rows, and multiplications, from which a convolution is faster; below, preparing one takes longer than the product."""
IMAGES = range(16, 65)
"""Into how many images rows may be divided. With one thread torch asks oneDNN for 16 or more alone; many are slow."""
FEW_ROWS = 64
"""Rows below which the transposed product is faster, as in generating text."""
LARGE_WEIGHT = 1 << 16
"""From this size on MKL is faster with a row twice than with one row, which it multiplies on one core."""

_wanted: Products = "auto"


@contextlib.contextmanager
def use_products(products: Products) -> Iterator[None]:
    """Choose who multiplies inside a ``with`` block; ``auto`` chooses by the processor."""
    global _wanted
    before, _wanted = _wanted, products
    try:
        yield
    finally:
        _wanted = before


def chosen_products() -> Literal["blas", "onednn"]:
    """Return who multiplies float32 matrices on this CPU now: what is forced, else oneDNN on AMD with AVX-512."""
    if _wanted != "auto":
        return _wanted
    return "onednn" if _onednn_is_faster() else "blas"


def linear(hidden: Float[Tensor, "*rows inputs"], weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    """Return ``hidden @ weight.T``, (*rows, outputs)."""
    if not _may_choose(hidden, weight):
        return F.linear(hidden, weight)
    rows = hidden.numel() // max(hidden.shape[-1], 1)
    if 0 < rows < FEW_ROWS:
        return _of_few_rows(hidden, weight)
    images = _images(rows, weight)
    if images is None:
        return F.linear(hidden, weight)
    pictures = hidden.reshape(images, -1, 1, hidden.shape[-1]).permute(0, 3, 1, 2)
    found = F.conv2d(pictures, weight[:, :, None, None])
    return found.permute(0, 2, 3, 1).reshape(*hidden.shape[:-1], weight.shape[0])


def multiplies_faster(hidden: Tensor, weight: Tensor) -> bool:
    """Say whether `linear` of these asks oneDNN."""
    rows = hidden.numel() // max(hidden.shape[-1], 1)
    return _may_choose(hidden, weight) and _images(rows, weight) is not None


def _of_few_rows(hidden: Float[Tensor, "*rows inputs"], weight: Float[Tensor, "outputs inputs"]) -> Tensor:
    rows = hidden.reshape(-1, hidden.shape[-1])
    if len(rows) == 1 and weight.numel() >= LARGE_WEIGHT:
        found = torch.mm(weight, torch.cat((rows, rows)).t()).select(1, 0)
    else:
        found = torch.mm(weight, rows.t()).t().contiguous()
    return found.reshape(*hidden.shape[:-1], weight.shape[0])


def _may_choose(hidden: Tensor, weight: Tensor) -> bool:
    """Return whether the product is one of float32 on a CPU of which more is known than torch makes use of."""
    if hidden.device.type != "cpu" or hidden.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    return not torch.is_autocast_enabled("cpu") and chosen_products() == "onednn"


def _images(rows: int, weight: Tensor) -> int | None:
    """Return how many images the rows are divided into; None where a convolution is not faster."""
    if rows < FEWEST_ROWS or rows * weight.numel() < FEWEST_OPERATIONS:
        return None
    return next((count for count in IMAGES if rows % count == 0), None)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _onednn_is_faster() -> bool:
    # torch.compile looks into a function that remembers, and stumbles over what it asks.
    return _looked_up()


@functools.cache
def _looked_up() -> bool:
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and has_mkl and torch.backends.cpu.get_cpu_capability() == "AVX512" and machine.is_amd()
