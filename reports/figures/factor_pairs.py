"""Two factors whose values are names, such as aggregator and distance, as a heat map of differences."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ablations.stored import StoredArm, StoredStudy
from reports.comparisons import compare
from reports.effects import blocks_of
from reports.figures.heat_maps import draw_cells, filled, fitted, largest, rows_height
from reports.figures.style import CHARACTER_WIDTH, LINE_HEIGHT, drawn, new_figure, plain, wrapped
from reports.figures.sweeps import short
from reports.frames import identity
from reports.wording import elided, setting_text

MOST_PANELS = 4
"""Combinations of the other factors that are drawn, one below the other."""
NAME_WIDTH = 18


def factor_pairs(study: StoredStudy) -> list[tuple[str, str]]:
    """Return the pairs of factors that have a heat map: the values of both are names."""
    named = [key for key, values in study.factors.items() if len(values) > 1 and all(map(_is_name, values))]
    return [pair for pair in itertools.combinations(named, 2) if _planes(study, *pair)]


@drawn
def factor_pair(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, first: str, second: str
) -> Figure | None:
    """Draw the mean difference to the reference for each pair of values; a cell with a verdict carries it.

    One panel a combination of the other factors, at most four, all in one scale of colours. None without a pair of
    finished trials.
    """
    comparisons = compare(study, trials)
    rows, columns = _names(study, first), _names(study, second)
    panels = []
    for plane in _planes(study, first, second)[:MOST_PANELS]:
        cells = {(identity(arm.settings[first]), identity(arm.settings[second])): arm.name for arm in plane}
        values, labels = filled(study, comparisons, list(rows), list(columns), cells)
        if values.notna().any(axis=None):
            others = {key: value for key, value in plane[0].settings.items() if key not in (first, second)}
            panels.append((others, values, labels))
    if not panels:
        return None
    row_names = [wrapped(name, NAME_WIDTH) for name in rows.values()]
    width, column_names = fitted(row_names, list(columns.values()), [labels for _, _, labels in panels])
    lines = max(name.count("\n") for name in column_names)
    figure = new_figure(width, len(panels) * (rows_height(row_names) + LINE_HEIGHT * lines + 0.55) + 0.3)
    reach = max(largest(values) for _, values, _ in panels)
    every = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (others, values, labels) in zip(every, panels, strict=True):
        draw_cells(axes, values, labels, row_names, column_names, reach)
        axes.set(xlabel=_title(second), ylabel=_title(first))
        if others:
            axes.set_title(plain(elided(short(others), int((width - 1.2) / CHARACTER_WIDTH))), loc="left")
    return figure


def _planes(study: StoredStudy, first: str, second: str) -> list[list[StoredArm]]:
    """Return the arms that agree in all other factors, where they make two rows and two columns or more."""
    planes = [list(block.values()) for block in blocks_of(study, (first, second))]
    return [
        plane
        for plane in planes
        if all(len({identity(arm.settings[key]) for arm in plane}) > 1 for key in (first, second))
    ]


def _names(study: StoredStudy, key: str) -> dict[str, str]:
    return {identity(value): plain(setting_text(value)) for value in study.factors[key]}


def _title(key: str) -> str:
    return plain(key.removeprefix("objective."))


def _is_name(value: Any) -> bool:
    return isinstance(value, str | dict | bool) or value is None
