"""Normalisers: what the finished target passes, so that no scale or direction of it can vanish.

Each is a module ``(B, P, D) -> (B, P, D)`` without trained parameters; `width` is D. Statistics are over all B·P rows,
and where several processes share a batch, over those of all.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsight.plug_ins import normalisers
from deepsight.ranks import first_of_whole_batch, of_whole_batch

Vectors = Float[Tensor, "batch rows width"]

RIDGE = 1e-4
"""Added to the variance of every direction before whitening, where each dimension has a variance of 1."""


def standardised(vectors: Vectors) -> Vectors:
    """Return the vectors with mean 0 and variance 1 in each dimension, over all rows; 0 where a dimension is constant.

    Each variance is raised by what rounding may leave of a constant, so that this does not depend on the scale.
    """
    centred = vectors - vectors.mean(dim=(0, 1))
    # Once more, for what rounding left of the mean: of a constant it would be all there is.
    centred = centred - centred.mean(dim=(0, 1))
    deviation: Tensor = (centred.square().mean(dim=(0, 1)) + _rounding(vectors)).sqrt()
    scaled: Tensor = centred / deviation
    return scaled


def _rounding(vectors: Vectors) -> Float[Tensor, ""]:
    """Return more variance than rounding leaves where there should be none."""
    kind = torch.finfo(vectors.dtype)
    share, least = 32 * kind.eps, math.sqrt(kind.tiny)
    return (share * vectors.detach()).square().mean() + least


def own_part(whole: Vectors, own: Vectors) -> Vectors:
    """Return this process's sequences of those of a whole batch."""
    first = first_of_whole_batch(own.shape[0])
    return whole[first : first + own.shape[0]]


@normalisers.register("none", formula="t", source="the original DeepSight (2024)")
class NoNormaliser(nn.Module):
    """The target as it is; the published choice."""

    def forward(self, target: Vectors) -> Vectors:
        """Return what is given."""
        return target


@normalisers.register(
    "standardise", formula="(t - mean t) / std t, in each dimension", source="Ioffe & Szegedy (2015), without gain"
)
class Standardise(nn.Module):
    """Mean 0 and variance 1 in each dimension, over all rows of the batch; a constant dimension becomes 0."""

    def forward(self, target: Vectors) -> Vectors:
        """Standardise each dimension."""
        return own_part(standardised(of_whole_batch(target)), target)


@normalisers.register(
    "whiten",
    formula="L⁻¹ s, s = (t - mean t) / std t, L Lᵀ = Cov s + ridge · I",
    source="Ermolov et al. (2021), sec. 3: Cholesky whitening",
)
class Whiten(nn.Module):
    """Mean 0, variance 1 and no correlation between dimensions, over all rows of the batch.

    Each dimension is standardised first: otherwise a trained gain before this could push whole dimensions under the
    ridge, and does. Directions with far less variance than the ridge of 1e-4 fall to 0 instead of being blown up; so do
    those that the rows, when they are fewer than the dimensions, do not span. It holds a matrix of width × width.
    """

    def forward(self, target: Vectors) -> Vectors:
        """Whiten the rows; in float64, since this inverts what may be near singular."""
        rows = standardised(of_whole_batch(target)).flatten(0, 1).double()
        covariance = rows.T @ rows / rows.shape[0]
        # Unlike the eigenvectors' signs and order, the Cholesky factor does not jump from batch to batch; and unlike
        # `cholesky`, this form gives nan for nan instead of an error of its own.
        factor, _ = torch.linalg.cholesky_ex(covariance + RIDGE * torch.eye(rows.shape[1]).to(rows))
        white: Tensor = torch.linalg.solve_triangular(factor, rows.T, upper=False).T
        return own_part(white.to(target.dtype).reshape(-1, *target.shape[1:]), target)
