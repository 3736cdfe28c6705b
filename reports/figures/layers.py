"""The layer-split heat map: what it does to put layers into the encoder or into the decoder."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports.comparisons import Comparison, compare
from reports.figures.heat_maps import draw_cells, filled, mean_difference
from reports.figures.style import COLUMN_WIDTH, TEXT_WIDTH, drawn, new_figure, plain, wrapped
from reports.figures.sweeps import LAYERS, Sweep, find_key, short, sweeps

MOST_COLUMNS = 4
"""More splits than this need the width of both columns of a paper."""
ROW_NAME_WIDTH = 20


@drawn
def layer_splits(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw the mean difference to the reference for every split of the layers.

    Encoder against decoder layers where nothing else varies; otherwise one column a split and one row a combination of
    the other factors. A cell with a verdict is marked. None unless two splits occur in arms that agree in all else.
    """
    key = find_key(study, trials, LAYERS)
    found = sweeps(study, trials, key, _is_split) if key else []
    comparisons = compare(study, trials)
    if not any(mean_difference(study, comparisons, arm) is not None for sweep in found for _, arm in sweep.points):
        return None
    table, labels = _square(study, comparisons, found[0]) if len(found) == 1 else _listed(study, comparisons, found)
    names = [str(name) for name in table.index]
    lines = sum(max(2, name.count("\n") + 1) for name in names)
    figure = new_figure(COLUMN_WIDTH if len(table.columns) <= MOST_COLUMNS else TEXT_WIDTH, 0.15 * lines + 0.75)
    draw_cells(figure.subplots(), table, labels)
    return figure


def _square(study: StoredStudy, comparisons: dict[str, Comparison], sweep: Sweep) -> tuple[pd.DataFrame, pd.DataFrame]:
    cells = {(split[0], split[1]): arm for split, arm in sweep.points}
    rows, columns = sorted({row for row, _ in cells}, reverse=True), sorted({column for _, column in cells})
    table = pd.DataFrame(index=pd.Index(rows, name="encoder layers"), columns=pd.Index(columns, name="decoder layers"))
    return filled(study, comparisons, table, cells)


def _listed(
    study: StoredStudy, comparisons: dict[str, Comparison], found: list[Sweep]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [_name(sweep) for sweep in found]
    cells = {
        (name, f"{split[0]} + {split[1]}"): arm
        for name, sweep in zip(names, found, strict=True)
        for split, arm in sweep.points
    }
    splits = sorted({(split[0], split[1]) for sweep in found for split, _ in sweep.points})
    table = pd.DataFrame(
        index=pd.Index(names, name=""),
        columns=pd.Index([f"{encoder} + {decoder}" for encoder, decoder in splits], name="encoder + decoder layers"),
    )
    return filled(study, comparisons, table, cells)


def _name(sweep: Sweep) -> str:
    """Return the other factors' values, broken between factors."""
    return ",\n".join(wrapped(plain(short({key: value})), ROW_NAME_WIDTH, 2) for key, value in sweep.settings.items())


def _is_split(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(layers, int) for layers in value)
