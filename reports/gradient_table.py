"""What the probe of gradients found, in short: of the whole network, and the layers that stand out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ablations.layer_gradients import WHOLE
from reports import numbers
from reports.table import Cell, Column, Table, number_cell

NUMBERS = ("share", "cosine", "cosine_of_means")
NOTES = (
    "The share is ‖g‖ / (‖g‖ + ‖n‖), of the objective's gradient g beside that of next-token loss, n, coefficients "
    "applied; below a cosine of zero the two pull against each other.",
    "Share and cosine are means over batches; the cosine of means is that between the two mean gradients of all "
    "batches, without most of the noise of single ones.",
)


def gradient_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return one row for each arm, objective, and the weights before and after training, means over seeds."""
    rows = tables["gradients"].astype(dict.fromkeys(NUMBERS, "float64"))
    by = ["arm", "objective", "weights", "layer"]
    means = rows.groupby(by, sort=False)[list(NUMBERS)].mean().reset_index()
    seeds = rows.groupby(by[:3], sort=False)["seed"].nunique()
    found: list[tuple[Cell, ...]] = []
    for (key, part), count in zip(means.groupby(by[:3], sort=False), seeds, strict=True):
        arm, objective, weights = map(str, key)
        found.append((Cell(arm), Cell(objective), Cell(weights), Cell(str(count)), *_numbers(part)))
    titles = ("arm", "objective", "weights", "seeds", *("share", "cosine", "cosine of means"))
    layers = ("largest share", "lowest cosine")
    columns = [Column(title, numeric=place > 2) for place, title in enumerate((*titles, *layers))]
    kept = [
        place for place in range(len(columns)) if place not in (0, 3) or len({row[place].text for row in found}) > 1
    ]
    return Table(
        name="gradient_evidence",
        caption="Each objective's gradient beside that of next-token loss, in the whole network and at its extremes.",
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in found),
        notes=NOTES,
        data=means,
    )


def _numbers(part: pd.DataFrame) -> list[Cell]:
    whole = part[part["layer"] == WHOLE].iloc[0]
    layers = part[part["layer"] != WHOLE].set_index("layer")
    return [
        *(number_cell(float(whole[name]), 3) for name in NUMBERS),
        _extreme(layers["share"], float(layers["share"].max())),
        _extreme(layers["cosine"], float(layers["cosine"].min())),
    ]


def _extreme(values: pd.Series[Any], value: float) -> Cell:
    """Return a value and the first layer that has it."""
    if math.isnan(value):
        return Cell(numbers.MISSING)
    return Cell(f"{numbers.fixed(value, 3)} ({values[values == value].index[0]})", key=value)
