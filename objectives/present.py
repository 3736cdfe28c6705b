"""The present context: the mean of everything read so far, which both published losses have in their targets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Vectors = Float[Tensor, "batch rows width"]


def present_context(vectors: Vectors) -> Vectors:
    """Return P_i = (E_1 + … + E_i) / i for each row i, counted from one."""
    read = torch.arange(1, vectors.shape[1] + 1, device=vectors.device, dtype=vectors.dtype)[:, None]
    return vectors.cumsum(dim=1) / read
