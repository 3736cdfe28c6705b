"""The main table: every arm with its losses, its paired difference to the reference, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from reports import numbers
from reports.comparisons import Comparison, controls, decimals, hypotheses
from reports.frames import complete_trials, results
from reports.groups import grouped
from reports.references import notes_on_tasks, references, the_reference, with_references
from reports.statistics import LEVEL, SIGN_FLIP_PAIRS, Verdict, shown_interval
from reports.table import Cell, Column, Table, count_cell, number_cell
from reports.wording import named

MEASURES = ("train_loss", "validation_loss", "bits_per_byte")


@dataclass(frozen=True)
class Mean:
    """Mean over seeds of one measure, and the half width of its 95 % t interval (NaN below three seeds)."""

    value: float
    half_width: float


@dataclass(frozen=True)
class _Measured:
    """One measure of every arm, and the decimals it is shown with."""

    means: Mapping[str, Mean]
    decimals: int

    def with_half_width(self, arm: str) -> Cell:
        mean = self.means[arm]
        return Cell(numbers.with_half_width(mean.value, mean.half_width, self.decimals), key=mean.value)

    def alone(self, arm: str) -> Cell:
        return number_cell(self.means[arm].value, self.decimals)


@dataclass(frozen=True)
class _Shown:
    """Which of the optional columns the study needs."""

    training_parameters: bool
    p: bool
    sign_flip: bool
    equivalence: bool
    paired: bool
    several: bool
    bits_per_byte: bool
    of_answers: bool


def main_table(
    study: StoredStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison], *, of_answers: bool = False
) -> Table:
    """Return the main table; an arm stands in bold only where it is the best of a task with the verdict "better".

    `of_answers` says that losses are over the tokens of a task's answers alone.
    """
    trials = complete_trials(study, trials)
    every, asked = list(comparisons.values()), hypotheses(comparisons)
    shown = _Shown(
        training_parameters=any(arm.training_parameters for arm in study.arms),
        p=any(math.isfinite(comparison.p) for comparison in every),
        sign_flip=any(comparison.pairs.count >= SIGN_FLIP_PAIRS for comparison in every),
        equivalence=any(comparison.verdict is Verdict.EQUIVALENT for comparison in every),
        paired=all(comparison.pairs.proven for comparison in every),
        several=len(asked) > 1,
        bits_per_byte=has_bits_per_byte(trials),
        of_answers=of_answers,
    )
    best = _best(asked)
    measured = {measure: _measure(study, trials, measure) for measure in MEASURES}
    rows = tuple(
        _row(study, arm, _finished(trials, arm), measured, comparisons, shown, best=arm.name in best)
        for arm in study.arms
    )
    table = Table(
        name="main",
        caption=f"Every arm of “{study.name}” beside {the_reference(study)}.",
        columns=_columns(shown),
        rows=rows,
        notes=_notes(study, shown, comparisons),
        data=pd.DataFrame([_data(study, arm, trials, comparisons.get(arm.name)) for arm in study.arms]),
    )
    return grouped(study, with_references(study, table))


def _best(asked: Sequence[Comparison]) -> set[str]:
    """Return the best of the arms that are better than their reference, one for each reference."""
    better = [comparison for comparison in asked if comparison.verdict is Verdict.BETTER]
    found: dict[str, Comparison] = {}
    for comparison in sorted(better, key=attrgetter("mean")):
        found.setdefault(comparison.pairs.reference, comparison)
    return {comparison.arm for comparison in found.values()}


def _columns(shown: _Shown) -> tuple[Column, ...]:
    difference = "paired difference" if shown.paired else "difference by seed"
    columns = [
        Column("arm"),
        Column("inference parameters", numeric=True),
        Column("training-only parameters", numeric=True) if shown.training_parameters else None,
        Column("training FLOPs per token", numeric=True),
        Column("seeds", numeric=True),
        Column("train loss", numeric=True, sortable=False),
        Column("validation loss", numeric=True),
        Column("bits per byte", numeric=True) if shown.bits_per_byte else None,
        Column(f"{difference} [95 % interval]", numeric=True),
        Column("p", numeric=True) if shown.p else None,
        Column("p (Holm)", numeric=True) if shown.p and shown.several else None,
        Column("p (sign flip)", numeric=True) if shown.sign_flip else None,
        Column("p (equivalence)", numeric=True) if shown.equivalence else None,
        Column("verdict"),
    ]
    return tuple(column for column in columns if column is not None)


def _row(
    study: StoredStudy,
    arm: StoredArm,
    finished: int,
    measured: Mapping[str, _Measured],
    comparisons: Mapping[str, Comparison],
    shown: _Shown,
    *,
    best: bool,
) -> tuple[Cell, ...]:
    comparison = comparisons.get(arm.name)
    cells = [
        Cell(arm.name, strong=best),
        count_cell(arm.inference_parameters),
        count_cell(arm.training_parameters) if shown.training_parameters else None,
        Cell(numbers.quantity(arm.flops_per_token), key=arm.flops_per_token),
        Cell(f"{finished}/{len(arm.trials) or len(study.seeds)}", key=finished),
        measured["train_loss"].alone(arm.name),
        measured["validation_loss"].with_half_width(arm.name),
        measured["bits_per_byte"].alone(arm.name) if shown.bits_per_byte else None,
        _difference_cell(study, arm, comparison, decimals(comparisons.values()), best),
        _p_cell(comparison, "p") if shown.p else None,
        _p_cell(comparison, "p_adjusted") if shown.p and shown.several else None,
        _p_cell(comparison, "p_sign_flip") if shown.sign_flip else None,
        _p_cell(comparison, "p_equivalence_adjusted") if shown.equivalence else None,
        _verdict_cell(study, arm, comparison, best),
    ]
    return tuple(cell for cell in cells if cell is not None)


def _finished(trials: pd.DataFrame, arm: StoredArm) -> int:
    return int(((trials["arm"] == arm.name) & (trials["status"] == "done")).sum())


def _p_cell(comparison: Comparison | None, name: str) -> Cell:
    p = float(getattr(comparison, name)) if comparison else math.nan
    return Cell(numbers.p_value(p), key=p)


def _difference_cell(
    study: StoredStudy, arm: StoredArm, comparison: Comparison | None, places: int, best: bool
) -> Cell:
    if comparison is None:
        return Cell(numbers.MISSING, key=0.0 if arm.name in references(study) else math.nan)
    text = numbers.difference(comparison.mean, comparison.low, comparison.high, places)
    return Cell(text, key=comparison.mean, strong=best)


def _verdict_cell(study: StoredStudy, arm: StoredArm, comparison: Comparison | None, best: bool) -> Cell:
    if comparison is None:
        return Cell(_standing(study, arm), kind="reference")
    if comparison.control:
        return Cell(f"control: {comparison.verdict}", kind="failed" if comparison.significant else "control")
    return Cell(str(comparison.verdict), strong=best, kind=str(comparison.verdict))


def _standing(study: StoredStudy, arm: StoredArm) -> str:
    """Return what an arm is that is compared with no other."""
    return "reference" if arm.name in references(study) else str(Verdict.OTHER_TASK)


def _measure(study: StoredStudy, trials: pd.DataFrame, measure: str) -> _Measured:
    means = {arm.name: mean_of(trials, arm.name, measure) for arm in study.arms}
    return _Measured(means, numbers.shared_decimals(mean.half_width for mean in means.values()))


def has_bits_per_byte(trials: pd.DataFrame) -> bool:
    """Return whether a finished trial tells bits per byte; so long as none has a loss either, it may be expected."""
    done = trials[trials["status"] == "done"]
    return bool(done["bits_per_byte"].notna().any() or done["validation_loss"].isna().all())


def mean_of(trials: pd.DataFrame, arm: str, measure: str) -> Mean:
    """Return the mean of a measure over an arm's finished trials."""
    values = results(trials, arm, measure)
    if values.empty:
        return Mean(math.nan, math.nan)
    low, high = shown_interval(values)
    return Mean(float(values.mean()), (high - low) / 2)


def _notes(study: StoredStudy, shown: _Shown, comparisons: Mapping[str, Comparison]) -> tuple[str, ...]:
    family = len(hypotheses(comparisons))
    word = "Paired differences" if shown.paired else "Differences by seed"
    tokens = "token of the answers" if shown.of_answers else "token"
    notes = [
        f"Losses are next-token cross-entropy in nats per {tokens}, without auxiliary terms; ± is half of the 95 % t "
        "interval over seeds. Train losses are shown, not ranked: arms with different objectives do not train for them "
        "alone.",
        f"{word} are arm minus reference, so negative is better; intervals are t intervals for one comparison each.",
    ]
    if shown.p and family > 1:
        notes.append(
            f"p is the two-sided paired t test's; p (Holm) is adjusted over the family of {family} comparisons, and "
            "decides the verdict at 5 %."
        )
    if shown.sign_flip:
        notes.append("p (sign flip) is the exact test over all 2ⁿ signs of the differences, unadjusted.")
    if shown.equivalence:
        adjusted = ", adjusted by Holm" if family > 1 else ""
        notes.append(
            f"p (equivalence) is that of two one-sided tests inside ±{numbers.significant(study.equivalence_margin)} "
            f"nats per token{adjusted}; an arm known to lie inside counts as equivalent."
        )
    for control in controls(comparisons):
        notes.append(
            f"{named(control.arm)} is the A/A control, the reference with something inert added: no hypothesis, and "
            f"tested alone at {100 * LEVEL:g} %."
        )
    return (*notes, *notes_on_tasks(study))


def _data(study: StoredStudy, arm: StoredArm, trials: pd.DataFrame, comparison: Comparison | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "arm": arm.name,
        "is_reference": arm.name in references(study),
        "is_control": arm.control,
        "inference_parameters": arm.inference_parameters,
        "training_parameters": arm.training_parameters,
        "flops_per_token": arm.flops_per_token,
        "seeds_planned": len(arm.trials),
        "seeds_done": _finished(trials, arm),
    }
    for measure in MEASURES:
        mean = mean_of(trials, arm.name, measure)
        data |= {f"{measure}_mean": mean.value, f"{measure}_half_width": mean.half_width}
    if comparison is None:
        return data | dict.fromkeys(COMPARISON_FIELDS, None) | {"verdict": _standing(study, arm)}
    return data | {key: field(comparison) for key, field in COMPARISON_FIELDS.items()} | {"verdict": comparison.verdict}


COMPARISON_FIELDS: dict[str, Callable[[Comparison], Any]] = {
    "pairs": lambda comparison: comparison.pairs.count,
    "pairs_dropped": lambda comparison: len(comparison.pairs.dropped),
    "pairs_with_same_batches": lambda comparison: comparison.pairs.same_batches,
    "family": attrgetter("family"),
    "difference_mean": attrgetter("mean"),
    "difference_low": attrgetter("low"),
    "difference_high": attrgetter("high"),
    "difference_deviation": attrgetter("deviation"),
    "p": attrgetter("p"),
    "p_holm": attrgetter("p_adjusted"),
    "p_sign_flip": attrgetter("p_sign_flip"),
    "p_equivalence": attrgetter("p_equivalence"),
    "p_equivalence_holm": attrgetter("p_equivalence_adjusted"),
    "correlation": attrgetter("correlation"),
    "smallest_detectable_effect": attrgetter("smallest_detectable"),
    "seeds_to_decide": attrgetter("seeds_to_decide"),
}
"""Columns of the CSV that the comparison with the reference gives."""
