"""How well scores put what is there before what is not: a column of scores for each thing that may be there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Scores = npt.NDArray[np.float64]
"""(positions, things)"""
There = npt.NDArray[np.bool_]
"""(positions, things)"""


def average_precision(scores: Scores, there: There) -> npt.NDArray[np.float64]:
    """Return Σ (R_i - R_{i-1}) P_i of each column, over the different scores from the largest on, (things,).

    P_i is the share there, and R_i the share of all that is there, among the positions with the i-th score or a larger
    one; so equal scores do not depend on the order of positions. NaN where nothing is there.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked, found = np.take_along_axis(scores, order, axis=0), np.take_along_axis(there, order, axis=0)
    precision = found.cumsum(axis=0) / np.arange(1, len(scores) + 1)[:, None]
    # Of equal scores the last one has the precision of all of them.
    places = np.arange(len(scores))[:, None]
    ends = np.where(
        np.append(ranked[:-1] != ranked[1:], np.ones((1, scores.shape[1]), bool), axis=0), places, len(scores)
    )
    last = np.flip(np.minimum.accumulate(np.flip(ends, axis=0), axis=0), axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.take_along_axis(precision, last, axis=0) * found).sum(axis=0) / found.sum(axis=0))


def roc_area(scores: Scores, there: There) -> npt.NDArray[np.float64]:
    """Return the area under the receiver operating characteristic of each column, (things,).

    That is the chance that a position where something is there has a larger score than one where it is not, equal
    scores counting half (Mann & Whitney, 1947). NaN where it is everywhere or nowhere.
    """
    ranks = rankdata(scores, axis=0)
    present = there.sum(axis=0).astype(np.float64)
    above = (ranks * there).sum(axis=0) - present * (present + 1) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray(above / (present * (len(scores) - present)))
