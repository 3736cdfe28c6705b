"""What shows that representations carry something, or have collapsed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

Vectors = Float[Tensor, "... width"]
Scalar = Float[Tensor, ""]


def mean_variance(vectors: Vectors) -> Scalar:
    """Return the variance of each dimension over all positions, averaged over dimensions; zero for a constant."""
    return vectors.flatten(0, -2).var(dim=0, correction=0).mean()


def effective_rank(vectors: Vectors) -> Scalar:
    """Return exp(-Σ pᵢ log pᵢ) with pᵢ the centred vectors' singular values over their sum (Roy & Vetterli, 2007).

    Between 1 (one direction; also given for constant vectors) and the width.
    """
    rows = vectors.flatten(0, -2).double()
    centred = rows - rows.mean(dim=0)
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0).sqrt()
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return torch.exp(torch.special.entr(shares).sum()).to(vectors.dtype)


def mean_gain(norms: list[nn.LayerNorm]) -> Scalar | None:
    """Return the mean absolute gain over norms, or None where none of them has a gain."""
    gains = [norm.weight.detach().abs().flatten() for norm in norms if norm.elementwise_affine]
    return torch.cat(gains).mean() if gains else None
