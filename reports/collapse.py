"""Whether an objective still teaches: its norms' gains, its two sides, its loss and its share of the gradient.

A distance between two vectors can be made small without predicting anything: scale both to zero, or make both constant.
And an objective may be there without teaching: too hard to learn, or too weak to be felt. The thresholds, and why:

- mean |gain| below a third of its start: a squared distance falls with the square of the gain, so eight ninths of the
  loss may have gone by shrinking alone. Below two thirds (more than half of the loss) it is said to be shrinking.
- variance below a hundredth of its start: the vectors keep less than a tenth of their spread. The smallest variance
  of a dimension is not judged: one dimension may go without harm.
- effective rank below 2: all vectors lie along about one direction.
- mean cosine of 0.99 or more: of the vectors' squared length (each scaled to one), the mean cosine is the part that is
  the same everywhere, so that a hundredth or less tells positions apart, as with the variance. A common offset alone,
  such as a norm's bias, brings it there only when it is ten times as long as what differs.
- loss over the trivial one of 0.98 or more at the end: of a squared error, a fiftieth or less has been explained. What
  never learns may stay a little below 1 by chance, since it is measured on one batch. Untrained networks start above 1.
- share of the gradient below a hundredth at the end: where the objective reads the network, it turns the gradient by
  little more than half a degree at most. Not judged where the coefficient is scheduled to fall.

The last two are judged in finished trials alone: an early state says nothing about them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from reports.frames import complete_curves, complete_trials, diagnostic_columns

COLLAPSED_GAIN = 1 / 3
SHRINKING_GAIN = 2 / 3
COLLAPSED_VARIANCE = 1 / 100
COLLAPSED_RANK = 2.0
COLLAPSED_COSINE = 0.99
TRIVIAL_LOSS = 0.98
IDLE_SHARE = 1 / 100

SIDES = ("prediction", "target")


class State(enum.StrEnum):
    """What is wrong with an objective."""

    COLLAPSED = "collapsed"
    SHRINKING = "shrinking"
    TRIVIAL = "trivial"
    IDLE = "idle"


EARLY = (State.COLLAPSED, State.SHRINKING)
"""States that may be seen at any time."""
LATE = (State.TRIVIAL, State.IDLE)
"""States that only the end of a trial shows."""


@dataclass(frozen=True)
class Symptom:
    """A diagnostic of an objective in one arm that says so.

    Attributes:
        metric: the diagnostic's name without the objective's, such as ``prediction_gain``.
        start: median over the arm's trials of the first recorded value.
        end: median of the last one.
        trials: trials that show it.
        of: trials that recorded the diagnostic.

    """

    arm: str
    objective: str
    metric: str
    state: State
    start: float
    end: float
    trials: int
    of: int


def symptoms(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> list[Symptom]:
    """Return every symptom that at least half of an arm's trials show, in the order of arms and columns."""
    trials, curves = complete_trials(study, trials), complete_curves(study, curves)
    done = set(trials.loc[trials["status"] == "done", "trial"])
    found = []
    for name, rows in curves.groupby("arm", sort=False):
        arm = study.arm(str(name))
        for column, ends in first_and_last(rows, diagnostic_columns(curves)).items():
            finished = ends[ends.index.isin(done)]
            judged = _symptom(arm, column, ends, EARLY), _symptom(arm, column, finished, LATE)
            found += [symptom for symptom in judged if symptom is not None]
    return found


def first_and_last(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the first and the last value of each column in each trial: one row per trial that has two or more."""
    trials = rows.groupby("trial", sort=False)[list(columns)]
    first, last, count = trials.first(), trials.last(), trials.count()  # all skip what is missing
    return {
        column: pd.DataFrame({"first": first[column], "last": last[column]})[count[column] > 1] for column in columns
    }


def _symptom(arm: StoredArm, column: str, ends: pd.DataFrame, states: tuple[State, ...]) -> Symptom | None:
    """Return the gravest of some states that at least half of an arm's trials show in one column."""
    objective, metric = column.split("/", 1)
    for state in states:
        shown = _shown(quantity(metric)[1], ends["first"], ends["last"], state)
        if shown is None or shown.empty or shown.mean() < 0.5:
            continue
        if state is State.IDLE and _is_scheduled(arm, objective):
            continue
        start, end = float(ends["first"].median()), float(ends["last"].median())
        return Symptom(arm.name, objective, metric, state, start, end, int(shown.sum()), len(ends))
    return None


def quantity(metric: str) -> tuple[str, str]:
    """Return (side, quantity) of a diagnostic's name: ``target_mean_cosine`` → ``target``, ``mean cosine``."""
    side, _, rest = metric.partition("_")
    sided = side in SIDES and rest != ""
    return (side if sided else ""), (rest if sided else metric).replace("_", " ")


def _shown(name: str, start: pd.Series[float], end: pd.Series[float], state: State) -> pd.Series[bool] | None:
    """Return which trials are in a state by one quantity; None for a quantity that says nothing of it."""
    match name, state:
        case "gain", State.COLLAPSED:
            return end < start * COLLAPSED_GAIN
        case "gain", State.SHRINKING:
            return end < start * SHRINKING_GAIN
        case "variance", State.COLLAPSED:
            return end < start * COLLAPSED_VARIANCE
        case "effective rank", State.COLLAPSED:
            return end < COLLAPSED_RANK
        case "mean cosine", State.COLLAPSED:
            return end >= COLLAPSED_COSINE
        case "loss over trivial", State.TRIVIAL:
            return end >= TRIVIAL_LOSS
        case "gradient share", State.IDLE:
            return end < IDLE_SHARE
    return None


def _is_scheduled(arm: StoredArm, objective: str) -> bool:
    """Return whether an objective's coefficient changes during the run; the second one of a name is called name_2."""
    specs = arm.config.get("objective", [])
    names = {str(spec["name"]) for spec in specs if isinstance(spec.get("coefficient"), Mapping)}
    base, _, number = objective.rpartition("_")
    return objective in names or (number.isdecimal() and base in names)
