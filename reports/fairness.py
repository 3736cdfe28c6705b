"""The table of fairness: every arm beside the reference at equal data, parameters, training FLOPs and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from reports import numbers
from reports.comparisons import Comparison, decimals
from reports.cost_curves import flops, seconds
from reports.equal_cost import EqualCost, at_equal_cost
from reports.frames import complete_curves, complete_trials
from reports.groups import grouped
from reports.references import references, the_reference, with_references
from reports.table import Cell, Column, Table, count_cell
from reports.wording import listed, named, sentence

SAME = 0.01
"""Sizes and costs that differ by no more than this share are called equal."""
MORE_FLOPS = 1.1
"""An arm with more than this multiple of the reference's training FLOPs is named in the finding."""
MOST_NAMES = 4


@dataclass(frozen=True)
class Fairness:
    """One arm beside the reference; ratios are arm over reference, NaN where the reference has nothing.

    Attributes:
        equal_data: the comparison of the study, at the end of both runs.
        size_ratio: inference parameters.
        matched: what the arm's size was solved for: parameters, flops, or None.
        flops_ratio: training FLOPs per token.
        seconds_per_token: of the arm's paired trials.
        seconds_ratio: the same over the reference's.

    """

    arm: StoredArm
    equal_data: Comparison
    equal_flops: EqualCost
    equal_time: EqualCost
    size_ratio: float
    matched: str | None
    flops_ratio: float
    seconds_per_token: float
    seconds_ratio: float

    @property
    def size(self) -> str:
        """Whether the sizes are equal, and whether by design, in words."""
        equal = abs(self.size_ratio - 1) <= SAME
        if self.matched == "parameters":
            return "matched" if equal else "matched, not within 1 %"
        return ("equal" if self.size_ratio == 1 else "within 1 %") if equal else "not equal"


def fairness(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, comparisons: Mapping[str, Comparison]
) -> Table | None:
    """Return the table, one row an arm; None where there is only the reference."""
    trials, curves = complete_trials(study, trials), complete_curves(study, curves)
    every = [_measured(study, trials, curves, comparison) for comparison in comparisons.values()]
    if not every:
        return None
    known = [fair for fair in every if not fair.equal_data.control]
    places = (
        decimals(comparisons.values()),
        numbers.shared_decimals(fair.equal_flops.half_width for fair in known),
        numbers.shared_decimals(fair.equal_time.half_width for fair in known),
    )
    table = Table(
        name="fairness",
        caption=f"Every arm beside {the_reference(study)} at equal data, parameters, training FLOPs and "
        "time: differences in validation loss, and what each costs as a multiple of the reference.",
        columns=(
            Column("arm"),
            Column("difference at equal data", numeric=True),
            Column("inference parameters", numeric=True),
            Column("size"),
            Column("training-only parameters", numeric=True),
            Column("training FLOPs per token", numeric=True),
            Column("difference at equal training FLOPs", numeric=True),
            Column("seconds per token", numeric=True),
            Column("difference at equal time", numeric=True),
        ),
        rows=tuple(_row(fair, places) for fair in every),
        notes=_notes(study, trials, every),
        data=pd.DataFrame([_data(fair) for fair in every]),
    )
    return grouped(study, with_references(study, table))


def flops_used(study: StoredStudy, trials: pd.DataFrame, arm: str) -> float:
    """Return the training FLOPs of an arm, averaged over its finished trials; NaN where none has finished."""
    rows = trials[(trials["arm"] == arm) & (trials["status"] == "done")]
    return float(rows["tokens"].mean()) * study.arm(arm).flops_per_token


def _measured(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, comparison: Comparison) -> Fairness:
    arm, reference = study.arm(comparison.arm), study.arm(comparison.pairs.reference)
    speed, reference_speed = (_seconds_per_token(trials, name, comparison) for name in (arm.name, reference.name))
    return Fairness(
        arm=arm,
        equal_data=comparison,
        equal_flops=at_equal_cost(study, curves, comparison.pairs, flops),
        equal_time=at_equal_cost(study, curves, comparison.pairs, seconds),
        size_ratio=_ratio(arm.inference_parameters, reference.inference_parameters),
        matched=_matched(arm),
        flops_ratio=_ratio(arm.flops_per_token, reference.flops_per_token),
        seconds_per_token=speed,
        seconds_ratio=_ratio(speed, reference_speed),
    )


def _matched(arm: StoredArm) -> str | None:
    """Return what a study matched an arm's size by."""
    written = arm.settings.get("model.match", arm.settings.get("model.match.by"))
    found = written.get("by") if isinstance(written, Mapping) else written
    return found if found in ("parameters", "flops") else None


def _seconds_per_token(trials: pd.DataFrame, arm: str, comparison: Comparison) -> float:
    """Return all seconds over all tokens of an arm's trials with these seeds; those without a time are left out."""
    rows = trials[(trials["arm"] == arm) & trials["seed"].isin(comparison.pairs.seeds)]
    rows = rows.dropna(subset=["seconds", "tokens"])
    return _ratio(float(rows["seconds"].sum()), float(rows["tokens"].sum()))


def _ratio(value: float, other: float) -> float:
    return value / other if other else math.nan


def _row(fair: Fairness, places: tuple[int, int, int]) -> tuple[Cell, ...]:
    """Return a row; `places` are the decimals at equal data, training FLOPs and time."""
    data = fair.equal_data
    return (
        Cell(fair.arm.name),
        Cell(numbers.difference(data.mean, data.low, data.high, places[0]), key=data.mean),
        Cell(numbers.times(fair.size_ratio), key=fair.size_ratio),
        Cell(fair.size, kind=None if abs(fair.size_ratio - 1) <= SAME else "unequal"),
        count_cell(fair.arm.training_parameters),
        Cell(
            f"{numbers.times(fair.flops_ratio)}{', matched' if fair.matched == 'flops' else ''}", key=fair.flops_ratio
        ),
        _cost_cell(fair.equal_flops, data.pairs.count, places[1]),
        Cell(numbers.times(fair.seconds_ratio), key=fair.seconds_ratio),
        _cost_cell(fair.equal_time, data.pairs.count, places[2]),
    )


def _cost_cell(equal: EqualCost, pairs: int, places: int) -> Cell:
    """Return the difference at equal cost, and the number of its pairs where it is not that of the comparison."""
    text = numbers.difference(equal.mean, *equal.interval, places)
    fewer = f" ({len(equal.seeds)} of {pairs} pairs)" if len(equal.seeds) < pairs else ""
    return Cell(f"{text}{fewer}", key=equal.mean)


def _notes(study: StoredStudy, trials: pd.DataFrame, every: Sequence[Fairness]) -> tuple[str, ...]:
    notes = [
        "Differences are arm minus reference, so negative is better, with 95 % t intervals for one comparison each "
        "(from three pairs on). "
        "Verdicts are those at equal data; the other two differences have none.",
        _reference_note(study, trials),
        "At equal training FLOPs, and at equal time, both loss curves of a pair are read where the cheaper run of the "
        "two ends, on the straight line between two evaluations.",
    ]
    cut = [
        _cut_note("training FLOPs", [fair.equal_flops for fair in every]),
        _cut_note("time", [fair.equal_time for fair in every]),
    ]
    if any(cut):
        notes += [note for note in cut if note]
        notes.append(
            "A curve that is read before its end is measured in the middle of its learning-rate schedule. While losses "
            "fall, a run planned for that budget would have ended lower, so the side that is cut short looks worse "
            "than it is; where a validation loss already rises again, it may look better. The CSV has the part of each."
        )
    notes.append(
        "Seconds are those of training steps, without evaluations, on whatever each trial ran on and beside whatever "
        "ran there with it; FLOPs do not depend on that."
    )
    return tuple(notes)


def _reference_note(study: StoredStudy, trials: pd.DataFrame) -> str:
    if len(references(study)) > 1:
        return "What the references have and cost themselves is in the main table. Sizes within 1 % count as equal."
    reference = study.arm(study.reference)
    rows = trials[(trials["arm"] == reference.name) & (trials["status"] == "done")].dropna(subset=["seconds", "tokens"])
    speed = _ratio(float(rows["seconds"].sum()), float(rows["tokens"].sum()))
    solved = ", its size solved to match the study's base" if _matched(reference) else ""
    time = f" and {numbers.significant(speed, 2)} s" if math.isfinite(speed) else ""
    return (
        f"The reference has {numbers.whole(reference.inference_parameters)} inference parameters and "
        f"{numbers.whole(reference.training_parameters)} training-only ones{solved}; a token of training takes "
        f"{numbers.quantity(reference.flops_per_token)} FLOPs{time}. Sizes within 1 % count as equal."
    )


def _cut_note(what: str, every: Sequence[EqualCost]) -> str:
    """Say which curves are read before their end, and after which part of their training; nothing where none is."""
    arms = _cut([(equal.share, equal.arm) for equal in every])
    beside = _cut([(equal.reference_share, equal.arm) for equal in every])
    sides = [*([arms] if arms else []), *([f"the reference beside {beside}"] if beside else [])]
    return sentence(f"Read before the end of their training at equal {what}: {'; '.join(sides)}") if sides else ""


def _cut(shares: Sequence[tuple[float, str]]) -> str:
    """Return the arms that are read before their end, or beside which the reference is, the earliest first."""
    cut = sorted(((share, arm) for share, arm in shares if share < 1 - SAME), key=itemgetter(0))
    return listed([f"{named(arm)} (after {100 * share:.0f} %)" for share, arm in cut], MOST_NAMES)


def _data(fair: Fairness) -> dict[str, Any]:
    data = fair.equal_data
    return {
        "arm": fair.arm.name,
        "pairs": data.pairs.count,
        "difference_mean": data.mean,
        "difference_low": data.low,
        "difference_high": data.high,
        "inference_parameters": fair.arm.inference_parameters,
        "inference_parameters_ratio": fair.size_ratio,
        "matched": fair.matched,
        "training_parameters": fair.arm.training_parameters,
        "flops_per_token": fair.arm.flops_per_token,
        "flops_per_token_ratio": fair.flops_ratio,
        **_cost_data("equal_flops", fair.equal_flops),
        "seconds_per_token": fair.seconds_per_token,
        "seconds_per_token_ratio": fair.seconds_ratio,
        **_cost_data("equal_time", fair.equal_time),
    }


def _cost_data(name: str, equal: EqualCost) -> dict[str, Any]:
    low, high = equal.interval
    return {
        f"{name}_pairs": len(equal.seeds),
        f"{name}_difference_mean": equal.mean,
        f"{name}_difference_low": low,
        f"{name}_difference_high": high,
        f"{name}_share_of_training": equal.share,
        f"{name}_share_of_reference_training": equal.reference_share,
    }
