"""Merges: the future vector joins the present context, the mean of everything read so far.

Each is a function ``(present (B, P, C), future (B, P, C), n, **parameters) -> (B, P, C)``; row i (from zero) has read
i + 1 positions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from deepsight.plug_ins import merges

Vectors = Float[Tensor, "batch rows width"]


@merges.register("equal", formula="(P + F) / 2", source="the original DeepSight (2024), EQUAL")
def equal(present: Vectors, future: Vectors, n: int) -> Vectors:
    """Present and future count alike; the published choice."""
    return (present + future) / 2


@merges.register("context_size", formula="(i P + n F) / (i + n)", source="the original DeepSight (2024), CONTEXT_SIZE")
def context_size(present: Vectors, future: Vectors, n: int) -> Vectors:
    """Present and future count by the number of positions behind them: i and n, i from one."""
    read = torch.arange(1, present.shape[1] + 1, device=present.device, dtype=present.dtype)[:, None]
    return (read * present + n * future) / (read + n)


@merges.register("future_only", formula="F", source="the original DeepSight (2024), NONE")
def future_only(present: Vectors, future: Vectors, n: int) -> Vectors:
    """The future alone."""
    return future
