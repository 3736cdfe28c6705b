"""Whether seeds solve a planning task: how many of how many, when, and beside the reference.

Seeds fall into two heaps: one finds how to plan and answers almost everything, another stays at chance. A mean of such
accuracies lies where no seed is, and their t interval (Student, 1908) knows nothing of a heap that no seed fell into.
A count does: its interval is Wilson's (1927, score interval), and two arms are compared by the pairs in which only one
side solved the task, exactly (McNemar, 1947), which five pairs cannot decide at 5 %: 2 / 2⁵ is 6.25 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from ablations.stored import StoredArm, StoredStudy
from reports import numbers
from reports.comparisons import Comparison
from reports.references import compared_with
from reports.statistics import (
    EXPLORATORY_PAIRS,
    LEVEL,
    SIGN_FLIP_PAIRS,
    Numbers,
    holm,
    shown_interval,
    sign_flip_test,
)
from reports.task_results import SOLVED, accuracy_column, at_the_end, chance_column, last_evaluations, step_of_solving


@dataclass(frozen=True)
class Success:
    """What the finished trials of an arm reached at a task.

    Attributes:
        seeds: of the trials, ascending.
        accuracies: shares of right answers at the end of training, (seeds,).
        steps: the step from which on each was solved, (seeds,); NaN where it was not.
        chance: the share that guessing gets right; NaN where it is not told.

    """

    arm: str
    seeds: tuple[int, ...]
    accuracies: Numbers = field(repr=False)
    steps: Numbers = field(repr=False)
    chance: float

    @property
    def count(self) -> int:
        """Number of seeds."""
        return len(self.seeds)

    @property
    def solves(self) -> dict[int, bool]:
        """Seed → whether it solved the task."""
        return {seed: bool(value >= SOLVED) for seed, value in zip(self.seeds, self.accuracies, strict=True)}

    @property
    def solved(self) -> int:
        """How many seeds solved the task."""
        return sum(self.solves.values())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share of seeds that solve the task; NaN below three seeds."""
        return wilson_interval(self.solved, self.count) if self.count >= EXPLORATORY_PAIRS else (math.nan, math.nan)

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(self.accuracies.mean()) if self.count else math.nan

    @property
    def half_width(self) -> float:
        """Half of the 95 % t interval of the mean; NaN below three seeds."""
        low, high = shown_interval(self.accuracies)
        return (high - low) / 2

    @property
    def median_steps(self) -> float:
        """Median step of solving over the seeds that solved; NaN where none did."""
        known = self.steps[np.isfinite(self.steps)]
        return float(np.median(known)) if known.size else math.nan


@dataclass(frozen=True)
class SuccessDifference:
    """An arm beside its reference at a task, seed by seed; what was not earned by enough pairs is NaN.

    Attributes:
        reference: of the arm's own task.
        seeds: those that both sides have finished.
        differences: accuracy of the arm minus that of the reference, (pairs,); positive is better.
        arm_only: pairs in which the arm solved the task and the reference did not.
        reference_only: pairs in which it was the other way round.
        family: number of comparisons that p is adjusted over.
        p: two-sided, of the exact test of `arm_only` against `reference_only`, from six pairs on.
        p_adjusted: the same by Holm over the family.

    """

    arm: str
    reference: str
    seeds: tuple[int, ...]
    differences: Numbers = field(repr=False)
    arm_only: int
    reference_only: int
    family: int
    p: float
    p_adjusted: float

    @property
    def mean(self) -> float:
        """Mean difference."""
        return float(self.differences.mean()) if self.seeds else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % t interval, NaN below three pairs."""
        return shown_interval(self.differences)

    @property
    def p_sign_flip(self) -> float:
        """P of the exact sign-flip test of the accuracies, from six pairs on; unadjusted."""
        return sign_flip_test(self.differences) if self.p == self.p else math.nan


def wilson_interval(solved: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the score interval (Wilson, 1927) of a share of which `solved` of `count` were seen."""
    low, high = proportion_confint(solved, count, alpha=level, method="wilson")
    return float(low), float(high)


def interval_text(success: Success) -> str:
    """Return " [23 %, 88 %]", nothing below three seeds."""
    low, high = success.interval
    return f" [{numbers.fixed(100 * low, 0)} %, {numbers.fixed(100 * high, 0)} %]" if math.isfinite(low) else ""


def exact_test(arm_only: int, reference_only: int) -> float:
    """Return the two-sided exact p of the pairs in which one side alone solved the task (McNemar, 1947); 1 without."""
    if not arm_only + reference_only:
        return 1.0
    return float(stats.binomtest(arm_only, arm_only + reference_only).pvalue)


def smallest_p(pairs: int) -> float:
    """Return the smallest p that the exact test can have of so many pairs."""
    return min(1.0, 2.0 / 2.0**pairs)


def successes(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, task: str) -> dict[str, Success]:
    """Return what each arm's finished trials reached at a task; arm → success, in the study's order.

    Args:
        study: the study.
        trials, curves: completed ones.
        task: its name, as in the columns ``task:<name>/accuracy``.

    """
    lasts = last_evaluations(trials, curves)
    return {arm.name: _success(arm.name, lasts, curves[curves["arm"] == arm.name], task) for arm in study.arms}


def _success(arm: str, lasts: pd.DataFrame, evaluations: pd.DataFrame, task: str) -> Success:
    column = accuracy_column(task)
    accuracies = at_the_end(lasts, arm, column)
    chance = at_the_end(lasts, arm, chance_column(task))
    rows = dict(iter(evaluations.groupby("seed")))
    return Success(
        arm=arm,
        seeds=tuple(int(seed) for seed in accuracies.index),
        accuracies=np.asarray(accuracies, dtype=np.float64),
        steps=np.array([step_of_solving(rows[seed], column) for seed in accuracies.index], dtype=np.float64),
        chance=float(chance.mean()) if len(chance) else math.nan,
    )


def compare_successes(
    study: StoredStudy, found: Mapping[str, Success], comparisons: Mapping[str, Comparison]
) -> dict[str, SuccessDifference]:
    """Compare every arm's success with its reference's; arm → difference, in the study's order.

    The family of the adjusted p values is that of the losses: all arms that are compared, the A/A control alone.

    Args:
        study: the study.
        found: the success of every arm.
        comparisons: those of the losses, which know whether the seed reaches the runs at all.

    """
    of = compared_with(study)
    others = [study.arm(name) for name in of]
    families = [[arm for arm in others if not arm.control], *([arm] for arm in others if arm.control)]
    every = {one.arm: one for family in families for one in _family(family, of, found, comparisons)}
    return {arm.name: every[arm.name] for arm in others}


def _family(
    arms: Sequence[StoredArm],
    references: Mapping[str, str],
    found: Mapping[str, Success],
    comparisons: Mapping[str, Comparison],
) -> Iterator[SuccessDifference]:
    """Yield the differences of arms whose p values are adjusted together."""
    raw: list[tuple[tuple[int, ...], Numbers, int, int, float]] = []
    for arm in arms:
        one, other = found[arm.name], found[references[arm.name]]
        seeds = tuple(sorted(set(one.seeds) & set(other.seeds)))
        differences = _of(one, seeds) - _of(other, seeds)
        arm_only = sum(one.solves[seed] and not other.solves[seed] for seed in seeds)
        reference_only = sum(other.solves[seed] and not one.solves[seed] for seed in seeds)
        # Below six pairs no outcome reaches 5 %, and repetitions of one run are no pairs.
        tested = len(seeds) >= SIGN_FLIP_PAIRS and not comparisons[arm.name].pairs.seed_is_idle
        p = exact_test(arm_only, reference_only) if tested else math.nan
        raw.append((seeds, differences, arm_only, reference_only, p))
    adjusted = holm([row[-1] for row in raw])
    for arm, (seeds, differences, arm_only, reference_only, p), p_adjusted in zip(arms, raw, adjusted, strict=True):
        yield SuccessDifference(
            arm=arm.name,
            reference=references[arm.name],
            seeds=seeds,
            differences=differences,
            arm_only=arm_only,
            reference_only=reference_only,
            family=len(arms),
            p=p,
            p_adjusted=float(p_adjusted),
        )


def _of(success: Success, seeds: Sequence[int]) -> Numbers:
    known = dict(zip(success.seeds, success.accuracies, strict=True))
    return np.array([known[seed] for seed in seeds], dtype=np.float64)
