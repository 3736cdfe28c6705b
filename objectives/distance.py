"""Distances: a scalar disagreement between prediction and target, both (B, P, D).

Here are those that look at each row by itself; comparisons with other rows are in contrastive_distance.py.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from deepsight.plug_ins import distances

Vectors = Float[Tensor, "batch rows width"]
Scalar = Float[Tensor, ""]


@distances.register("mse", formula="mean (p - t)²", source="the original DeepSight (2024), MSE")
def mse(prediction: Vectors, target: Vectors) -> Scalar:
    """Mean squared error over all elements; the published choice."""
    return F.mse_loss(prediction, target)


@distances.register("cosine", formula="mean 1 - (cos(p, t) + 1)/2", source="the original DeepSight (2024), COSINE")
def cosine(prediction: Vectors, target: Vectors) -> Scalar:
    """One minus the cosine similarity scaled to 0 … 1."""
    return (1 - (F.cosine_similarity(prediction, target, dim=-1) + 1) / 2).mean()


@distances.register(
    "log_cosine", formula="mean -log((cos(p, t) + 1)/2)", source="the original DeepSight (2024), LOG_COSINE"
)
def log_cosine(prediction: Vectors, target: Vectors) -> Scalar:
    """Minus the logarithm of the cosine similarity scaled to 0 … 1."""
    similarity = (F.cosine_similarity(prediction, target, dim=-1) + 1) / 2
    # Opposite vectors would give infinity; the smallest normal number keeps the loss and its gradient finite.
    return -torch.log(similarity.clamp_min(torch.finfo(similarity.dtype).tiny)).mean()


@distances.register(
    "smooth_l1",
    formula="mean of d²/(2 beta) where |d| < beta, |d| - beta/2 elsewhere, d = p - t",
    source="Girshick (2015), eq. 3, with the width beta",
)
def smooth_l1(prediction: Vectors, target: Vectors, beta: Annotated[float, Field(gt=0.0)] = 1.0) -> Scalar:
    """Squared error for small differences and absolute error for large ones, over all elements."""
    return F.smooth_l1_loss(prediction, target, beta=beta)
