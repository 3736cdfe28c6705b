"""Maps of what probes read, a panel an arm: places of the network as rows, distances as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.probe_arms import Styles
from reports.figures.probe_heat import BAR_WIDTH, CELL_HEIGHT, colour_bar, draw_heat, reach_of
from reports.figures.style import (
    CHARACTER_WIDTH,
    COLUMN_WIDTH,
    LINE_HEIGHT,
    TEXT_WIDTH,
    applied,
    new_figure,
    wrapped,
)


def place_maps(tables: Mapping[str, pd.DataFrame], styles: Styles, across: str, label: str) -> Figure | None:
    """Draw tables of places × columns, one panel an arm, all in one scale of colours around zero.

    Args:
        tables: of each arm; empty ones are left out.
        styles: of all arms.
        across: what the columns are.
        label: what the numbers are.

    Returns:
        None where there is none.

    """
    tables = {arm: table for arm, table in tables.items() if not table.empty}
    if not tables:
        return None
    beside = min(len(tables), 2)
    width = COLUMN_WIDTH if beside == 1 else TEXT_WIDTH
    names = CHARACTER_WIDTH * max(len(str(place)) for table in tables.values() for place in table.index)
    cells = (width - BAR_WIDTH) / beside - names - 0.15
    titles = {arm: wrapped(styles[arm].label, int((cells + names) / CHARACTER_WIDTH), 2) for arm in tables}
    rows = [list(tables)[start : start + beside] for start in range(0, len(tables), beside)]
    heights = [max(_height(tables[arm], titles[arm]) for arm in row) for row in rows]
    with applied():
        figure = new_figure(width, sum(heights) + 0.2)
        panels = figure.subplots(len(rows), beside, squeeze=False, gridspec_kw={"height_ratios": heights}).ravel()
        reach = reach_of(list(tables.values()))
        for axes, (arm, table) in zip(panels, tables.items(), strict=False):
            mesh = draw_heat(axes, table, reach, [str(column) for column in table.columns], cells)
            axes.set_title(titles[arm], loc="left", pad=3)
        for axes in panels[len(tables) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(tables) - beside) : len(tables)]:
            axes.set_xlabel(across)
        colour_bar(figure, mesh, panels.tolist(), label)
    return figure


def means_by_place(rows: pd.DataFrame, columns: str, values: str) -> pd.DataFrame:
    """Return means over seeds, places (in the network's order) × columns (in theirs)."""
    means = rows.groupby(["place", columns], sort=False)[values].mean().unstack(columns)
    means.index.name = means.columns.name = None
    # Where arms have different places, the longest list of them says the order, and others come after their neighbour.
    return means.reindex(merged_order([list(dict.fromkeys(of["place"])) for _, of in rows.groupby("arm", sort=False)]))


def merged_order(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return all names of some lists, each list's own order kept where the lists do not contradict each other."""
    merged: list[str] = []
    for names in sorted(lists, key=len, reverse=True):
        at = 0
        for name in names:
            if name in merged:
                at = merged.index(name) + 1
            else:
                merged.insert(at, name)
                at += 1
    return merged


def _height(table: pd.DataFrame, title: str) -> float:
    return len(table) * CELL_HEIGHT + (title.count("\n") + 2.6) * LINE_HEIGHT
