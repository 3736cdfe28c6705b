"""Factor effects: what each value of a factor does on the average over the other factors of a grid.

Each seed is one observation: its losses are averaged over the arms with a value, so that what seeds have in common
cancels when two values are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from reports import numbers
from reports.frames import complete_trials, identity, results
from reports.references import arms_by_task
from reports.statistics import Numbers, shown_interval
from reports.table import Cell, Column, Table
from reports.wording import setting_text


@dataclass(frozen=True)
class Effect:
    """One value of a factor, over all blocks of arms that agree in everything else and have every value.

    Attributes:
        losses: validation loss of each seed, averaged over the blocks, (seeds,).
        first: the same of the factor's first value.
        blocks: number of arms that were averaged over.
        is_first: whether this is the value that the others are compared with.

    """

    factor: str
    value: Any
    losses: Numbers = field(repr=False)
    first: Numbers = field(repr=False)
    blocks: int
    is_first: bool

    @property
    def mean(self) -> float:
        """Marginal mean, nats per token."""
        return float(self.losses.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the marginal mean over seeds; NaN below three seeds."""
        return shown_interval(self.losses)

    @property
    def difference(self) -> float:
        """Mean difference to the factor's first value, paired by seed."""
        return float((self.losses - self.first).mean())

    @property
    def difference_interval(self) -> tuple[float, float]:
        """95 % t interval of that difference; NaN below three seeds, and for the first value itself."""
        return (math.nan, math.nan) if self.is_first else shown_interval(self.losses - self.first)


def effects(study: StoredStudy, trials: pd.DataFrame) -> list[Effect]:
    """Return the effects of every factor of a grid; none of one that changes the task, whose losses do not compare.

    Nor of a factor whose values have no finished block in common.
    """
    trials = complete_trials(study, trials)
    return [effect for factor in study.factors for effect in _effects(study, trials, factor)]


def marginal_losses(
    study: StoredStudy, trials: pd.DataFrame, factors: tuple[str, ...], wanted: list[str]
) -> tuple[pd.DataFrame, int]:
    """Average losses over the blocks that have finished trials of every wanted combination of the factors' values.

    Args:
        study: the study.
        trials: completed ones.
        factors: those that are not averaged over.
        wanted: combinations of their values, as `blocks_of` names them.

    Returns:
        One row a seed that all these arms have finished and one column a combination, and the number of blocks; an
        empty table where there is none.

    """
    blocks = [
        [results(trials, block[name].name) for name in wanted]
        for block in blocks_of(study, factors)
        if all(name in block for name in wanted)
    ]
    blocks = [block for block in blocks if all(map(len, block))]
    if not blocks:
        return pd.DataFrame(), 0
    seeds = sorted(set.intersection(*(set(losses.index) for block in blocks for losses in block)))
    table = np.mean([[losses.loc[seeds].to_numpy() for losses in block] for block in blocks], axis=0)
    return pd.DataFrame(table.T, index=pd.Index(seeds, name="seed"), columns=wanted), len(blocks)


def blocks_of(study: StoredStudy, factors: tuple[str, ...]) -> list[dict[str, StoredArm]]:
    """Return groups of arms that agree in all but some factors: identity of the list of their values → arm."""
    found: dict[str, dict[str, StoredArm]] = {}
    for arm in study.arms:
        if all(factor in arm.settings for factor in factors):
            others = {key: value for key, value in arm.settings.items() if key not in factors}
            own = identity([arm.settings[factor] for factor in factors])
            found.setdefault(identity([others, arm.group]), {})[own] = arm
    return list(found.values())


def _effects(study: StoredStudy, trials: pd.DataFrame, factor: str) -> Iterator[Effect]:
    written = {identity([value]): value for value in study.factors[factor]}
    values = [name for name in written if any(name in block for block in blocks_of(study, (factor,)))]
    table, blocks = marginal_losses(study, trials, (factor,), values)
    if len(values) < 2 or table.empty or _changes_task(study, factor):
        return
    first = table[values[0]].to_numpy()
    for name in values:
        yield Effect(factor, written[name], table[name].to_numpy(), first, blocks, is_first=name == values[0])


def _changes_task(study: StoredStudy, factor: str) -> bool:
    """Whether arms that agree in all other factors learned different tasks."""
    place = {arm.name: place for place, arms in enumerate(arms_by_task(study)) for arm in arms}
    return any(len({place[arm.name] for arm in block.values()}) > 1 for block in blocks_of(study, (factor,)))


def factor_effects(study: StoredStudy, trials: pd.DataFrame) -> Table | None:
    """Return the table of marginal means, one row a value of a factor; None where there is no grid to average over."""
    found = effects(study, trials)
    if not found:
        return None
    places = numbers.shared_decimals(_half(effect.interval) for effect in found)
    difference_places = numbers.shared_decimals(_half(effect.difference_interval) for effect in found)
    return Table(
        name="factor_effects",
        caption="What each value of a factor does, on the average over the other factors.",
        columns=(
            Column("factor"),
            Column("value"),
            Column("arms", numeric=True),
            Column("seeds", numeric=True),
            Column("marginal mean", numeric=True),
            Column("difference to the first value [95 % interval]", numeric=True),
        ),
        rows=tuple(_row(effect, places, difference_places) for effect in found),
        notes=(
            "Marginal means are of the validation loss (nats per token), over the arms that have every value of the "
            "factor in common and over the seeds that all of these have finished; ± is half of the 95 % t interval "
            "over seeds. Differences are paired by seed; intervals are for one comparison each, and no verdict rests "
            "on them.",
        ),
        data=pd.DataFrame([_data(effect) for effect in found]),
    )


def _row(effect: Effect, places: int, difference_places: int) -> tuple[Cell, ...]:
    difference = numbers.difference(effect.difference, *effect.difference_interval, difference_places)
    return (
        Cell(effect.factor),
        Cell(setting_text(effect.value)),
        Cell(str(effect.blocks), key=effect.blocks),
        Cell(str(len(effect.losses)), key=len(effect.losses)),
        Cell(numbers.with_half_width(effect.mean, _half(effect.interval), places), key=effect.mean),
        Cell(numbers.MISSING if effect.is_first else difference, key=effect.difference),
    )


def _data(effect: Effect) -> dict[str, Any]:
    (low, high), (difference_low, difference_high) = effect.interval, effect.difference_interval
    return {
        "factor": effect.factor,
        "value": setting_text(effect.value),
        "arms": effect.blocks,
        "seeds": len(effect.losses),
        "mean": effect.mean,
        "mean_low": low,
        "mean_high": high,
        "difference": effect.difference,
        "difference_low": difference_low,
        "difference_high": difference_high,
    }


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2
