"""What shows that representations carry something, or have collapsed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

Vectors = Float[Tensor, "... width"]
Scalar = Float[Tensor, ""]

MOST_ROWS = 1024
"""Vectors whose spectrum is taken where there are more of them and of their dimensions: at most a second's work."""


def mean_variance(vectors: Vectors) -> Scalar:
    """Return the variance of each dimension over all positions, averaged over dimensions; zero for a constant."""
    return vectors.flatten(0, -2).var(dim=0, correction=0).mean()


def smallest_variance(vectors: Vectors) -> Scalar:
    """Return the variance over all positions of the dimension that varies least."""
    return vectors.flatten(0, -2).var(dim=0, correction=0).amin()


def effective_rank(vectors: Vectors) -> Scalar:
    """Return exp(-Σ pᵢ log pᵢ) with pᵢ the centred vectors' singular values over their sum (Roy & Vetterli, 2007).

    Between 1 (one direction; also given for constant vectors) and the width. Where there are more than MOST_ROWS
    vectors of more than MOST_ROWS dimensions, that many of the vectors are read, evenly spread.
    """
    rows = vectors.flatten(0, -2)
    if min(rows.shape) > MOST_ROWS:
        rows = rows[torch.linspace(0, rows.shape[0] - 1, MOST_ROWS, device=rows.device).long()]
    centred = rows.double() - rows.double().mean(dim=0)
    # Both products have the same eigenvalues beside zeros; the smaller one is the cheaper.
    products = centred.T @ centred if rows.shape[0] > rows.shape[1] else centred @ centred.T
    values = torch.linalg.eigvalsh(products).clamp_min(0).sqrt()
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.exp(torch.special.entr(shares).sum()).to(vectors.dtype)


def mean_gain(norms: list[nn.LayerNorm]) -> Scalar | None:
    """Return the mean absolute gain over norms, or None where none of them has a gain."""
    gains = [norm.weight.detach().abs().flatten() for norm in norms if norm.elementwise_affine]
    return torch.cat(gains).mean() if gains else None


def mean_cosine(vectors: Vectors) -> Scalar:
    """Return the mean cosine between two different positions; near 1 where all vectors point the same way."""
    rows = torch.nn.functional.normalize(vectors.flatten(0, -2).double(), dim=-1)
    count = rows.shape[0]
    # Σ over pairs of products is the squared norm of the sum, less each row with itself.
    pairs = rows.sum(dim=0).square().sum() - rows.square().sum()
    return (pairs / max(1, count * (count - 1))).to(vectors.dtype)
