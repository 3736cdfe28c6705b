"""The table of efficiency: what each arm needs to reach the reference's final loss, beside what the reference needed.

Both curves of a pair are read by one rule, at their first point at or below the reference's final validation loss, so
that an arm which is the reference again has a ratio of exactly one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison, Pairs
from reports.cost_curves import Cost, cost_curves, flops, seconds, tokens
from reports.frames import complete_curves
from reports.groups import grouped
from reports.references import the_reference, with_references
from reports.statistics import Numbers, shown_interval
from reports.table import Cell, Column, Table

COSTS: dict[str, tuple[str, Cost]] = {
    "tokens": ("tokens", tokens),
    "flops": ("training FLOPs", flops),
    "seconds": ("seconds", seconds),
}
"""Name in the data → title and measure of a cost."""


@dataclass(frozen=True)
class Reaching:
    """The cost of an arm to reach the reference's final loss, over the reference's own cost to reach it.

    Attributes:
        ratios: of the pairs whose arm reaches it, (reached,).
        pairs: pairs whose two curves can be read.

    """

    ratios: Numbers = field(repr=False)
    pairs: int

    @property
    def reached(self) -> int:
        """Pairs whose arm reaches the loss."""
        return len(self.ratios)

    @property
    def mean(self) -> float:
        """Geometric mean of the ratios; NaN where no seed reaches the loss."""
        if not self.reached:
            return math.nan
        with np.errstate(divide="ignore"):  # an arm that is there before its first step
            return float(np.exp(np.log(self.ratios).mean()))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean, from the logarithms; NaN below three ratios."""
        if not self.ratios.all():
            return math.nan, math.nan
        low, high = shown_interval(np.log(self.ratios))
        return math.exp(low), math.exp(high)


def reaching(study: StoredStudy, curves: pd.DataFrame, pairs: Pairs, cost: Cost) -> Reaching:
    """Measure what the arm of some pairs needs to reach its reference's final loss; `curves` are completed ones."""
    own, reference = (cost_curves(study.arm(name), curves, cost) for name in (pairs.arm, pairs.reference))
    ratios = []
    for seed, loss in zip(pairs.seeds, pairs.reference_losses, strict=True):
        if seed in own and seed in reference:
            needed = reference[seed].reaching(float(loss))
            if needed > 0:  # not where the reference's curve is cut before its end
                ratios.append(own[seed].reaching(float(loss)) / needed)
    every = np.asarray(ratios, dtype=np.float64)
    return Reaching(every[np.isfinite(every)], len(every))


def efficiency(study: StoredStudy, curves: pd.DataFrame, comparisons: Mapping[str, Comparison]) -> Table | None:
    """Return the table, one row an arm; None where no pair can be read."""
    curves = complete_curves(study, curves)
    every = {
        arm: {name: reaching(study, curves, comparison.pairs, cost) for name, (_, cost) in COSTS.items()}
        for arm, comparison in comparisons.items()
    }
    if not any(found["tokens"].pairs for found in every.values()):
        return None
    places = {name: _decimals([found[name] for found in every.values()]) for name in COSTS}
    table = Table(
        name="efficiency",
        caption=f"What each arm needs to reach the final validation loss of {the_reference(study)}, as a "
        "multiple of what the reference needs.",
        columns=(
            Column("arm"),
            Column("seeds that reach it", numeric=True),
            *(Column(title, numeric=True) for title, _ in COSTS.values()),
        ),
        rows=tuple(_row(arm, found, places) for arm, found in every.items()),
        notes=_notes(every),
        data=pd.DataFrame([_data(arm, found) for arm, found in every.items()]),
    )
    return grouped(study, with_references(study, table))


def _decimals(found: Sequence[Reaching]) -> int | None:
    """Return the decimals that suit the ratios of one cost; None where no interval is known."""
    halves = [(high - low) / 2 for low, high in (measure.interval for measure in found)]
    return numbers.shared_decimals(halves) if any(half > 0 for half in halves) else None


def _row(arm: str, found: Mapping[str, Reaching], places: Mapping[str, int | None]) -> tuple[Cell, ...]:
    seeds = found["tokens"]
    count = f"{seeds.reached} of {seeds.pairs} reach" if seeds.pairs else numbers.MISSING
    return (
        Cell(arm),
        Cell(count, key=seeds.reached / seeds.pairs if seeds.pairs else math.nan),
        *(_cost_cell(found[name], places[name]) for name in COSTS),
    )


def _cost_cell(found: Reaching, places: int | None) -> Cell:
    if found.pairs and not found.reached:
        return Cell("never", key=math.nan)
    mean, low, high = (numbers.times(ratio, places) for ratio in (found.mean, *found.interval))
    return Cell(mean if low == numbers.MISSING else f"{mean} [{low}, {high}]", key=found.mean)


def _notes(every: Mapping[str, Mapping[str, Reaching]]) -> tuple[str, ...]:
    notes = [
        "Pair by pair, both curves, the reference's too, are read at their first point at or below the final loss of "
        "that seed's reference, on the straight line between two evaluations. Shown is the geometric mean of the "
        "ratios with the 95 % t interval of their logarithms (from three seeds on), for one comparison each; an arm "
        "below ×1 gets there sooner.",
        "A curve that gets there before its end is read in the middle of its learning-rate schedule; a run planned to "
        "end there might have needed less.",
    ]
    if any(0 < found["tokens"].reached < found["tokens"].pairs for found in every.values()):
        notes.append(
            "Where some seeds never reach the loss, the mean is over those that do, and flatters the arm: the others "
            "would need more than all of their training."
        )
    return tuple(notes)


def _data(arm: str, found: Mapping[str, Reaching]) -> dict[str, Any]:
    data: dict[str, Any] = {"arm": arm, "pairs": found["tokens"].pairs, "reached": found["tokens"].reached}
    for name, measure in found.items():
        low, high = measure.interval
        data |= {f"{name}_ratio": measure.mean, f"{name}_ratio_low": low, f"{name}_ratio_high": high}
    return data
