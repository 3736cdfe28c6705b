"""Distances that compare rows with each other, so that a constant prediction cannot win.

Rows are all positions of all sequences: B·P of them, other times of the same sequence included, and where several
processes share a batch, those of all.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from deepsight.plug_ins import distances
from deepsight.ranks import first_of_whole_batch, of_whole_batch
from objectives.normalising import standardised

Vectors = Float[Tensor, "batch rows width"]
Rows = Float[Tensor, "rows width"]
Scalar = Float[Tensor, ""]

VARIANCE_EPSILON = 1e-4
"""Under the root of a standard deviation, so that its gradient stays finite (Bardes et al., 2022, eq. 2)."""


@distances.register(
    "info_nce",
    formula="mean_i -log( e^{cos(p_i, t_i)/temperature} / Σ_j e^{cos(p_i, t_j)/temperature} )",
    source="van den Oord et al. (2018), eq. 4, with cosines as scores",
)
def info_nce(
    prediction: Vectors,
    target: Vectors,
    temperature: Annotated[float, Field(gt=0.0)] = 0.1,
    negatives: Annotated[int, Field(ge=1)] = 512,
) -> Scalar:
    """Cross-entropy of finding each row's own target among those of other rows.

    Where there are more than `negatives` other rows, that many targets are drawn from all rows, the same for each
    prediction, so that memory grows with rows · negatives; a row's own target is never its negative.
    """
    predicted, wanted = (F.normalize(side.flatten(0, 1), dim=-1) / temperature**0.5 for side in (prediction, target))
    candidates, rows = of_whole_batch(wanted), predicted.shape[0]
    count, first = candidates.shape[0], first_of_whole_batch(rows)
    places = torch.arange(first, first + rows, device=predicted.device)
    if count - 1 <= negatives:
        return F.cross_entropy(predicted @ candidates.T, places)
    drawn = torch.randperm(count, device=predicted.device)[:negatives]
    others = (predicted @ candidates[drawn].T).masked_fill(drawn == places[:, None], float("-inf"))
    own = (predicted * wanted).sum(dim=-1, keepdim=True).to(others.dtype)
    return F.cross_entropy(torch.cat([own, others], dim=1), torch.zeros_like(places))


@distances.register(
    "vicreg",
    formula="invariance · mean (p - t)² + variance · (v(p) + v(t)) + covariance · (c(p) + c(t)), "
    "v(z) = mean_j max(0, 1 - std z_j), c(z) = Σ_{i≠j} Cov_ij(z)² / D",
    source="Bardes et al. (2022), eq. 1-6; the squared error is a mean over dimensions too, as in the authors' runs",
)
def vicreg(
    prediction: Vectors,
    target: Vectors,
    invariance: Annotated[float, Field(ge=0.0)] = 25.0,
    variance: Annotated[float, Field(ge=0.0)] = 25.0,
    covariance: Annotated[float, Field(ge=0.0)] = 1.0,
) -> Scalar:
    """Squared error, and a price on dimensions that vary too little and on dimensions that say the same.

    The price is on both sides; a target without gradient only adds a constant by it.
    """
    loss = invariance * F.mse_loss(prediction, target)
    for side in (prediction, target):
        rows = of_whole_batch(side.flatten(0, 1))
        loss = loss + variance * _too_little_variance(rows) + covariance * _covariance(rows)
    return loss


def _too_little_variance(rows: Rows) -> Scalar:
    # Of one row, nothing can be said: its variance counts as zero.
    variances = (rows - rows.mean(dim=0)).square().sum(dim=0) / max(1, rows.shape[0] - 1)
    return F.relu(1 - (variances + VARIANCE_EPSILON).sqrt()).mean()


def _covariance(rows: Rows) -> Scalar:
    centred = rows - rows.mean(dim=0)
    matrix = centred.T @ centred / max(1, rows.shape[0] - 1)
    return _off_diagonal(matrix).square().sum() / rows.shape[1]


@distances.register(
    "barlow",
    formula="Σ_i (1 - R_ii)² + off_diagonal · Σ_{i≠j} R_ij², R_ij = correlation of p_i and t_j",
    source="Zbontar et al. (2021), eq. 1-2",
)
def barlow(prediction: Vectors, target: Vectors, off_diagonal: Annotated[float, Field(ge=0.0)] = 5e-3) -> Scalar:
    """How far the correlations between the dimensions of prediction and target are from the identity."""
    predicted, wanted = (standardised(of_whole_batch(side)).flatten(0, 1) for side in (prediction, target))
    correlations = predicted.T @ wanted / predicted.shape[0]
    diagonal = (1 - correlations.diagonal()).square().sum()
    return diagonal + off_diagonal * _off_diagonal(correlations).square().sum()


@distances.register(
    "correlation",
    formula="1 - mean_d corr(p_d, t_d)",
    source="this project; Pearson's correlation coefficient",
)
def correlation(prediction: Vectors, target: Vectors) -> Scalar:
    """One minus the correlation of prediction and target in each dimension, averaged over dimensions."""
    predicted, wanted = (standardised(of_whole_batch(side)) for side in (prediction, target))
    return 1 - (predicted * wanted).mean(dim=(0, 1)).mean()


def _off_diagonal(matrix: Float[Tensor, "width width"]) -> Float[Tensor, "width width"]:
    return matrix - matrix.diagonal().diag()
