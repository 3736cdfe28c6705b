"""From a pilot to a plan: the seeds that would show a difference of a given size, and the time that they take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from deepsight.errors import UserError
from reports import numbers
from reports.comparisons import pair
from reports.frames import complete_trials, results
from reports.groups import grouped
from reports.references import compared_with, notes_on_tasks, the_reference, with_references
from reports.statistics import LEVEL, MOST_SEEDS, POWER, VERDICT_PAIRS, deviation_limit, seeds_to_show
from reports.table import Cell, Column, Table, count_cell
from reports.wording import counted, listed, named

FEW_PAIRS = 5
"""A deviation from fewer pairs is hardly known: with 3, its upper 80 % limit is more than twice the estimate."""


@dataclass(frozen=True)
class Need:
    """What one arm needs; NaN and None where nothing is known, or for the reference.

    Attributes:
        pairs: finished pairs of the pilot.
        deviation: of the paired differences, nats per token.
        limit: its upper 80 % confidence limit.
        seeds: that show the difference if the deviation is as estimated.
        seeds_at_limit: the same if it is at its limit.
        done: trials that have finished.
        seconds: of training for one trial.

    """

    arm: str
    pairs: int
    deviation: float
    limit: float
    seeds: int | None
    seeds_at_limit: int | None
    done: int
    seconds: float

    @property
    def known(self) -> bool:
        """Whether the pilot says anything of this arm's deviation."""
        return math.isfinite(self.deviation)


@dataclass(frozen=True)
class _Plan:
    """The seeds of the whole study, as estimated and at the limit; None where they are out of reach."""

    seeds: int | None
    at_limit: int | None
    workers: int

    def left(self, need: Need) -> tuple[float, float]:
        """Return the seconds that an arm's missing trials take, by either number of seeds."""
        counts = (self.seeds, self.at_limit)
        missing = [math.nan if count is None else max(count - need.done, 0) for count in counts]
        return missing[0] * need.seconds / self.workers, missing[1] * need.seconds / self.workers


def seeds_needed(
    study: StoredStudy,
    trials: pd.DataFrame,
    difference: float,
    *,
    workers: int = 1,
    level: float = LEVEL,
    power: float = POWER,
) -> tuple[str, Table]:
    """Return what a study needs to show a true difference, as one sentence and as a table of its arms.

    Every arm is to show it with the power asked for at the first and strictest step of Holm's procedure, `level` over
    the number of arms; the A/A control has nothing to show, but its trials are run too.

    Args:
        study: of the pilot.
        trials: the pilot's, finished or not.
        difference: to show, nats per token.
        workers: trials that run at a time.
        level: two-sided error level of all comparisons together.
        power: chance to show the difference where it is there.

    Raises:
        UserError: the difference is not positive, or no arm has two finished pairs.

    """
    if not (difference > 0 and math.isfinite(difference)):
        raise UserError(
            f"the difference to show is a positive number of nats per token, such as 0.01, not {difference}"
        )
    trials = complete_trials(study, trials)
    every = _needs(study, trials, difference, level, power)
    if not any(need.known for need in every):
        raise UserError("a plan needs a pilot: no arm has two seeds that finished on both sides; run three seeds first")
    seeds = _whole([need.seeds for need in every if need.known])
    at_limit = _whole([need.seeds_at_limit for need in every if need.known])
    plan = _Plan(seeds, at_limit, workers)
    left, left_at_limit = (sum(plan.left(need)[side] for need in _distinct(study, every)) for side in (0, 1))
    table = Table(
        name="plan",
        caption=f"Seeds to show a difference of {numbers.significant(difference)} nats per token to "
        f"{the_reference(study)} with {100 * power:g} % power, and the training time of the trials still missing.",
        columns=(
            Column("arm"),
            Column("pairs", numeric=True),
            Column("deviation", numeric=True),
            Column("upper limit", numeric=True),
            Column("seeds", numeric=True),
            Column("seeds at the limit", numeric=True),
            Column("time a trial", numeric=True),
            Column("time left", numeric=True),
            Column("time left at the limit", numeric=True),
        ),
        rows=(
            *(_row(study, need, plan.left(need)) for need in every),
            _last_row(plan, (left, left_at_limit)),
        ),
        notes=tuple(_notes(study, every, workers, level)),
        data=pd.DataFrame([_data(need, plan.left(need)) for need in every]),
        totals=1,
    )
    return _sentence(difference, plan, (left, left_at_limit)), grouped(study, with_references(study, table))


def _needs(study: StoredStudy, trials: pd.DataFrame, difference: float, level: float, power: float) -> list[Need]:
    family = sum(_asks(study, arm) for arm in study.arms)
    speeds = {arm.name: float(results(trials, arm.name, "seconds").mean()) for arm in study.arms}
    per_flop = pd.Series([speeds[arm.name] / arm.flops_per_token for arm in study.arms if arm.flops_per_token]).mean()
    found = []
    for arm in study.arms:
        pairs = pair(study, trials, arm.name) if arm.name in compared_with(study) else None
        count = pairs.count if pairs else 0
        deviation = float(pairs.differences.std(ddof=1)) if pairs and count > 1 and not arm.control else math.nan
        limit = deviation_limit(deviation, count)
        seconds = speeds[arm.name]
        found.append(
            Need(
                arm=arm.name,
                pairs=count,
                deviation=deviation,
                limit=limit,
                seeds=seeds_to_show(difference, deviation, family, level=level, power=power),
                seeds_at_limit=seeds_to_show(difference, limit, family, level=level, power=power),
                done=len(results(trials, arm.name)),
                seconds=seconds if math.isfinite(seconds) else float(per_flop * arm.flops_per_token),
            )
        )
    return found


def _asks(study: StoredStudy, arm: StoredArm) -> bool:
    return arm.name in compared_with(study) and not arm.control


def _whole(seeds: Sequence[int | None]) -> int | None:
    """Return the seeds that are enough for all; None where one is out of reach."""
    reachable = [count for count in seeds if count is not None]
    return max(reachable) if len(reachable) == len(seeds) else None


def _distinct(study: StoredStudy, every: Sequence[Need]) -> list[Need]:
    """Return one of those arms that mean the same runs: these run once."""
    runs = {str(sorted(study.arm(need.arm).trials.items()) or need.arm): need for need in reversed(every)}
    return list(runs.values())


def _sentence(difference: float, plan: _Plan, left: tuple[float, float]) -> str:
    start = f"For a difference of {numbers.significant(difference)} nats per token you need {_seeds(plan.seeds)} seeds"
    if plan.seeds is None:
        return f"{start}: another design, or longer training, may do more than seeds."
    start += f" ({_seeds(plan.at_limit)} if the deviation is at its upper limit)"
    if not any(left):
        return f"{start}, and the pilot has them."
    time = f"about {numbers.duration(left[0])} more" if left[0] else "which the pilot has"
    more = f" ({numbers.duration(left[1])})" if math.isfinite(left[1]) else ""
    return f"{start}, {time}{more} with {counted(plan.workers, 'worker')}."


def _seeds(count: int | None) -> str:
    return f"more than {MOST_SEEDS:,}" if count is None else f"{count}"


def _row(study: StoredStudy, need: Need, left: tuple[float, float]) -> tuple[Cell, ...]:
    compared = need.arm in compared_with(study)
    return (
        Cell(need.arm),
        count_cell(need.pairs) if compared else Cell(numbers.MISSING),
        Cell(numbers.significant(need.deviation, 2), key=need.deviation),
        Cell(numbers.significant(need.limit, 2), key=need.limit),
        _seeds_cell(need.seeds) if need.known else Cell(numbers.MISSING),
        _seeds_cell(need.seeds_at_limit) if need.known else Cell(numbers.MISSING),
        *(Cell(numbers.duration(seconds), key=seconds) for seconds in (need.seconds, *left)),
    )


def _last_row(plan: _Plan, left: tuple[float, float]) -> tuple[Cell, ...]:
    return (
        Cell("whole study", strong=True),
        *(Cell("") for _ in range(3)),
        _seeds_cell(plan.seeds),
        _seeds_cell(plan.at_limit),
        Cell(""),
        *(Cell(numbers.duration(seconds), key=seconds) for seconds in left),
    )


def _seeds_cell(count: int | None) -> Cell:
    return Cell(_seeds(count), key=math.inf if count is None else count)


def _notes(study: StoredStudy, every: Sequence[Need], workers: int, level: float) -> Iterator[str]:
    family = sum(_asks(study, study.arm(need.arm)) for need in every)
    step = numbers.significant(100 * level / family, 2)
    yield (
        f"The deviation is that of the pilot's paired differences; the t test is taken at {step} %, Holm's first step "
        f"for {counted(family, 'comparison')}. A verdict needs {VERDICT_PAIRS} seeds in any case."
    )
    few = [need.pairs for need in every if need.known and need.pairs < FEW_PAIRS]
    if few:
        yield (
            f"So few pairs ({min(few)}) estimate a deviation badly: plan with its upper limit, which lies above the "
            "true one with 80 % confidence if the differences are normal."
        )
    unknown = [named(need.arm) for need in every if not need.known and _asks(study, study.arm(need.arm))]
    if unknown:
        yield f"Nothing is known of {listed(unknown)}, without two finished pairs; only the time has a part for them."
    yield from notes_on_tasks(study)
    yield (
        f"Time left is that of the trials still missing to the study's seeds, {counted(workers, 'worker')} at a time, "
        "by training time in the pilot: evaluations and starts come on top. Arms that mean the same run share it."
    )


def _data(need: Need, left: tuple[float, float]) -> dict[str, Any]:
    return {
        "arm": need.arm,
        "pairs": need.pairs,
        "deviation": need.deviation,
        "deviation_limit": need.limit,
        "seeds": need.seeds,
        "seeds_at_limit": need.seeds_at_limit,
        "trials_done": need.done,
        "seconds_per_trial": need.seconds,
        "seconds_left": left[0],
        "seconds_left_at_limit": left[1],
    }
