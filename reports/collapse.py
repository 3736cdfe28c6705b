"""Whether an objective stopped teaching: its norms' gains, its variances or its effective ranks fell away.

A distance between two vectors can be made small without predicting anything: scale both to zero, or make both constant.
The thresholds, and why:

- mean |gain| below a third of its start: a squared distance falls with the square of the gain, so eight ninths of the
  loss may have gone by shrinking alone. Below two thirds (more than half of the loss) it is said to be shrinking.
- variance below a hundredth of its start: the vectors keep less than a tenth of their spread.
- effective rank below 2: all vectors lie along about one direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ablations.stored import StoredStudy
from reports.frames import complete_curves, diagnostic_columns

COLLAPSED_GAIN = 1 / 3
SHRINKING_GAIN = 2 / 3
COLLAPSED_VARIANCE = 1 / 100
COLLAPSED_RANK = 2.0


@dataclass(frozen=True)
class Symptom:
    """A diagnostic of an objective in one arm that fell too far.

    Attributes:
        metric: the diagnostic's name without the objective's, such as ``prediction_gain``.
        start: median over the arm's trials of the first recorded value.
        end: median of the last one.
        severe: collapsed; otherwise on the way.
        trials: trials that show it.
        of: trials that recorded the diagnostic.

    """

    arm: str
    objective: str
    metric: str
    start: float
    end: float
    severe: bool
    trials: int
    of: int


def symptoms(study: StoredStudy, curves: pd.DataFrame) -> list[Symptom]:
    """Return every symptom that at least half of an arm's trials show, in the order of arms and columns."""
    curves = complete_curves(study, curves)
    found = []
    for arm, rows in curves.groupby("arm", sort=False):
        for column in diagnostic_columns(curves):
            symptom = _symptom(str(arm), column, first_and_last(rows, column))
            if symptom is not None:
                found.append(symptom)
    return found


def first_and_last(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the first and the last value of a column in each trial: one row per trial that has two or more."""
    values = rows.dropna(subset=[column]).groupby("trial", sort=False)[column]
    ends: pd.DataFrame = values.agg(["first", "last", "size"])
    return ends[ends["size"] > 1]


def _symptom(arm: str, column: str, ends: pd.DataFrame) -> Symptom | None:
    objective, metric = column.split("/", 1)
    if ends.empty:
        return None
    for severe in (True, False):
        shown = _shown(metric, ends["first"], ends["last"], severe)
        if shown is not None and shown.mean() >= 0.5:
            start, end = float(ends["first"].median()), float(ends["last"].median())
            return Symptom(arm, objective, metric, start, end, severe, int(shown.sum()), len(ends))
    return None


def _shown(metric: str, start: pd.Series[float], end: pd.Series[float], severe: bool) -> pd.Series[bool] | None:
    """Return which trials show the symptom; None for a metric that has none of this severity."""
    if metric.endswith("gain"):
        return end < start * (COLLAPSED_GAIN if severe else SHRINKING_GAIN)
    if not severe:
        return None
    if metric.endswith("variance"):
        return end < start * COLLAPSED_VARIANCE
    if metric.endswith("effective_rank"):
        return end < COLLAPSED_RANK
    return None
