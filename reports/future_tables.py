"""What states know of the tokens ahead, as tables to read: means over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import numbers
from reports.table import Cell, Table, columns_of

MOST_DISTANCES = 8


def future_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return the bits above the best control that linear probes read, one row an arm and place."""
    states = tables["states"]
    linear = states[states["probe"] == "linear"]
    means = linear.groupby(["arm", "place", "ahead"], sort=False)["bits"].mean().unstack("ahead")
    shown = shown_distances([int(ahead) for ahead in means.columns])
    best = {ahead: means[ahead].max() for ahead in shown}
    rows = [
        (
            *_names(name, linear),
            *(_bits(float(bits[ahead]), strong=bits[ahead] == best[ahead] > 0) for ahead in shown),
        )
        for name, bits in means.iterrows()
    ]
    return Table(
        name="future",
        caption="Bits of the tokens ahead that linear probes read off single states, above the best control.",
        columns=columns_of(
            [*_titles(linear), *(f"{ahead} ahead" for ahead in shown)], numeric_from=len(_titles(linear))
        ),
        rows=tuple(rows),
        notes=(_measured_on(tables["examples"]), "Accuracies, small networks and each control are in the files."),
        data=states,
    )


def bag_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return how well linear probes find which tokens come, one row an arm and place."""
    states = tables["states"]
    values = ["average_precision", "roc_area", "gain"]
    means = states.groupby(["arm", "place"], sort=False)[values].mean()
    best = means["gain"].max()
    rows = [
        (
            *_names(name, states),
            *(Cell(numbers.fixed(float(row[value]), 3), key=float(row[value])) for value in values[:2]),
            _bits(float(row["gain"]), strong=row["gain"] == best > 0),
        )
        for name, row in means.iterrows()
    ]
    titles = [*_titles(states), "average precision", "area under the curve", "above the best control"]
    return Table(
        name="future_bag",
        caption="Which tokens come within the window, read off single states by linear probes.",
        columns=columns_of(titles, numeric_from=len(_titles(states))),
        rows=tuple(rows),
        notes=(_measured_on(tables["examples"]), "The last column is of the average precision."),
        data=states,
    )


def shown_distances(known: list[int]) -> list[int]:
    """Return the distances that a table has room for: all, or the powers of two and the last."""
    if len(known) <= MOST_DISTANCES:
        return known
    return [ahead for ahead in known if ahead & (ahead - 1) == 0 or ahead == known[-1]]


def _titles(states: pd.DataFrame) -> list[str]:
    return ["arm", "place"] if states["arm"].nunique() > 1 else ["place"]


def _names(name: Any, states: pd.DataFrame) -> tuple[Cell, ...]:
    """Return the cells that name a row, indexed by arm and place."""
    arm, place = map(str, name)
    return (Cell(arm), Cell(place)) if states["arm"].nunique() > 1 else (Cell(place),)


def _bits(value: float, *, strong: bool) -> Cell:
    return Cell(numbers.fixed(value, 3, sign=True), key=value, strong=bool(strong))


def _measured_on(examples: pd.DataFrame) -> str:
    test, training = examples["test_positions"].mean(), examples["train_positions"].mean()
    told = examples["targets_told_apart"].mean()
    return (
        f"Trained on {training:,.0f} positions, measured on {test:,.0f} of other documents; {told:.0%} of the targets "
        f"there are among the {examples['tokens_told_apart'].mean():,.0f} tokens told apart, and the others are one "
        "class, for the controls too."
    )
