"""The layer-split heat map: what it does to put layers into the encoder or into the decoder."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports.comparisons import Comparison, compare
from reports.figures.heat_maps import draw_cells, filled, fitted, mean_difference, rows_height
from reports.figures.style import TEXT_WIDTH, drawn, new_figure, plain, wrapped
from reports.figures.sweeps import LAYERS, Sweep, find_key, short, sweeps

ROW_NAME_WIDTH = 20
WIDE_ROW_NAME_WIDTH = 36
"""Characters in a figure that takes both columns of a paper."""


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
    if len(found) == 1:
        return _square(study, comparisons, found[0])
    return _listed(study, comparisons, found)


def _square(study: StoredStudy, comparisons: dict[str, Comparison], sweep: Sweep) -> Figure:
    cells: dict[tuple[Hashable, Hashable], str] = {(split[0], split[1]): arm for split, arm in sweep.points}
    encoders, decoders = ({split[side] for split, _ in sweep.points} for side in (0, 1))
    table, labels = filled(study, comparisons, sorted(encoders, reverse=True), sorted(decoders), cells)
    rows = [str(layers) for layers in table.index]
    width, columns = fitted(rows, [str(layers) for layers in table.columns], [labels])
    figure = new_figure(width, rows_height(rows) + 0.75)
    axes = figure.subplots()
    draw_cells(axes, table, labels, rows, columns)
    axes.set(xlabel="decoder layers", ylabel="encoder layers")
    return figure


def _listed(study: StoredStudy, comparisons: dict[str, Comparison], found: list[Sweep]) -> Figure:
    splits = sorted({(split[0], split[1]) for sweep in found for split, _ in sweep.points})
    cells: dict[tuple[Hashable, Hashable], str] = {
        (row, f"{split[0]} + {split[1]}"): arm for row, sweep in enumerate(found) for split, arm in sweep.points
    }
    names = [f"{encoder} + {decoder}" for encoder, decoder in splits]
    table, labels = filled(study, comparisons, range(len(found)), names, cells)
    rows = [_name(sweep) for sweep in found]
    width, columns = fitted(rows, names, [labels])
    if width == TEXT_WIDTH:
        rows = [wrapped(plain(short(sweep.settings)), WIDE_ROW_NAME_WIDTH) for sweep in found]
    figure = new_figure(width, rows_height(rows) + 0.75)
    axes = figure.subplots()
    draw_cells(axes, table, labels, rows, columns)
    axes.set_xlabel("encoder + decoder layers")
    return figure


def _name(sweep: Sweep) -> str:
    """Return the other factors' values, broken between factors."""
    return ",\n".join(wrapped(plain(short({key: value})), ROW_NAME_WIDTH, 2) for key, value in sweep.settings.items())


def _is_split(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(layers, int) for layers in value)
