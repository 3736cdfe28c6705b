"""What the probe of boards found, in short: how much of the board is read, now and some moves later."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports import numbers
from reports.table import Cell, Table, columns_of, number_cell

MOST_DISTANCES = 5
CONTROLS = {
    "majority": "what a cell holds most often",
    "ply": "the same, after as many moves",
    "unchanged": "the true board now",
    "present": "a probe on the true board now",
}
"""Those that see no network, in words."""


def board_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return one row for each arm and place, and below them the controls, means over seeds."""
    states, controls = tables["states"], tables["controls"]
    several = states["arm"].nunique() > 1
    shown = sorted(set(states["ahead"]))[:MOST_DISTANCES]
    last = shown[-1]
    means = states.groupby(["arm", "place", "ahead"], sort=False)["accuracy"].mean().unstack("ahead")
    gains = states[states["ahead"] == shown[0]].groupby(["arm", "place"], sort=False)["gain"].mean()
    beyond = states[states["ahead"] == last].groupby(["arm", "place"], sort=False)["above_present"].mean()
    best = gains.max()
    rows = [
        (
            *((Cell(str(name[0])),) if several else ()),  # type: ignore[index]
            Cell(str(name[1])),  # type: ignore[index]
            *(number_cell(float(own[ahead]), 3) for ahead in shown),
            _signed(float(gains[name]), strong=bool(gains[name] == best > 0)),
            *((_signed(float(beyond[name]), strong=bool(beyond[name] > 0)),) if last else ()),
        )
        for name, own in means.iterrows()
    ]
    below = [
        _control(name, controls, shown, several=several) for name in CONTROLS if (controls["control"] == name).any()
    ]
    words = ("arm", "place") if several else ("place",)
    ahead = [f"{k} ahead" if k else "now" for k in shown]
    titles = [*words, *ahead, "above the controls", *((f"above present, {last} ahead",) if last else ())]
    return Table(
        name="board",
        caption="The share of cells that linear probes read off single states: now, and after further moves.",
        columns=columns_of(titles, numeric_from=len(words)),
        rows=(*rows, *(row[: len(titles)] for row in below)),
        notes=_notes(tables["examples"]),
        data=states,
        totals=len(below),
    )


def _control(name: str, controls: pd.DataFrame, shown: list[int], *, several: bool) -> tuple[Cell, ...]:
    means = controls[controls["control"] == name].groupby("ahead")["accuracy"].mean()
    words = (Cell(CONTROLS[name]), *((Cell(""),) if several else ()))
    found = (number_cell(float(means[ahead]), 3) if ahead in means.index else Cell(numbers.MISSING) for ahead in shown)
    return (*words, *found, Cell(""), Cell(""))


def _notes(examples: pd.DataFrame) -> tuple[str, ...]:
    train, test = examples["train_games"].mean(), examples["test_games"].mean()
    return (
        f"Trained on {train:,.0f} games, measured on {test:,.0f} others. The controls that a place is above now are "
        "what a cell holds most often, the same after as many moves, and the same probe on the network before "
        "training.",
        "A state knows of moves to come where it is above a probe on the true present board.",
    )


def _signed(value: float, *, strong: bool) -> Cell:
    return Cell(numbers.fixed(value, 3, sign=True), key=value, strong=strong)
