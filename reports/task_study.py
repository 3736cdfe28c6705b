"""A study of a planning task: what was measured, what each arm reached at it, and that beside the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ablations.stored import StoredStudy
from reports.comparisons import Comparison
from reports.frames import complete_curves, complete_trials
from reports.statistics import shown_interval
from reports.success import Success, SuccessDifference, compare_successes, successes
from reports.task_results import (
    FORCED,
    accuracy_column,
    at_the_end,
    last_evaluations,
    measured_tasks,
    measured_values,
)

MOST_OTHERS = 4
"""Shares beside the main one that have columns in the table; its CSV has all."""
MOST_VALUES = 2
"""Numbers that are no shares have columns where there are no more than this; the CSV has all."""


@dataclass(frozen=True)
class TaskStudy:
    """What a study found at its planning task.

    Attributes:
        study: the plan.
        tasks: all that have an accuracy, the main one first.
        values: the numbers that are no shares.
        lasts: the last evaluations of finished trials.
        successes: arm → what it reached at the main task.
        differences: arm → the same beside the reference.
        paired: whether the two sides of every pair provably belong together.

    """

    study: StoredStudy
    tasks: tuple[str, ...]
    values: tuple[str, ...]
    lasts: pd.DataFrame
    successes: Mapping[str, Success]
    differences: Mapping[str, SuccessDifference]
    paired: bool

    @property
    def main(self) -> str:
        """The task that the study is about."""
        return self.tasks[0]

    @property
    def others(self) -> tuple[str, ...]:
        """The other shares that the table has columns of."""
        return self.tasks[1 : 1 + MOST_OTHERS]

    @property
    def shown_values(self) -> tuple[str, ...]:
        """The numbers that are no shares and have columns."""
        return self.values if len(self.values) <= MOST_VALUES else ()

    @property
    def pairs(self) -> int:
        """Pairs of the arm that has most."""
        return max((len(difference.seeds) for difference in self.differences.values()), default=0)

    @property
    def has_chance(self) -> bool:
        """Whether any arm is told what guessing gets."""
        return any(math.isfinite(success.chance) for success in self.successes.values())

    @property
    def gap_task(self) -> str | None:
        """The share that was also measured with the right answer so far shown: the main one, or else the last; or None.

        A whole answer that greedy decoding must find has none: it is right with what is shown if it is right without.
        """
        both = [task for task in self.tasks if task + FORCED in self.tasks]
        return None if not both else self.main if self.main in both else both[-1]

    @property
    def has_gap(self) -> bool:
        """Whether there is such a share."""
        return self.gap_task is not None

    @property
    def has_p(self) -> bool:
        """Whether any arm has pairs enough for the exact test."""
        return any(math.isfinite(difference.p) for difference in self.differences.values())

    @property
    def family(self) -> int:
        """Number of comparisons that are no control's."""
        return max((difference.family for difference in self.differences.values()), default=0)

    def mean(self, arm: str, column: str) -> tuple[float, float]:
        """Return the mean over seeds of a column at the end of training, and half of its 95 % t interval."""
        values = at_the_end(self.lasts, arm, column)
        if values.empty:
            return math.nan, math.nan
        low, high = shown_interval(values)
        return float(values.mean()), (high - low) / 2

    def gaps(self, arm: str, task: str) -> pd.Series[float]:
        """Return the accuracy with the right answer so far shown less that without, by seed.

        Wide is the Clever-Hans failure: the answer is copied from what is shown of it (Bachmann & Nagarajan, 2024).
        """
        forced, free = (at_the_end(self.lasts, arm, accuracy_column(name)) for name in (task + FORCED, task))
        return (forced - free).dropna()


def task_study(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, comparisons: Mapping[str, Comparison]
) -> TaskStudy | None:
    """Return what finished trials reached at the study's planning task; None where no trial was measured at one."""
    trials, curves = complete_trials(study, trials), complete_curves(study, curves)
    tasks = measured_tasks(curves)
    if not tasks:
        return None
    found = successes(study, trials, curves, tasks[0])
    return TaskStudy(
        study=study,
        tasks=tuple(tasks),
        values=tuple(measured_values(curves)),
        lasts=last_evaluations(trials, curves),
        successes=found,
        differences=compare_successes(study, found, comparisons),
        paired=all(comparison.pairs.proven for comparison in comparisons.values()),
    )
