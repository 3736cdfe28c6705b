"""Heat maps of differences to the reference: what each cell says, how it is coloured, and how much room all takes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison
from reports.figures.style import CHARACTER_WIDTH, COLUMN_WIDTH, INK, LINE_HEIGHT, TEXT_WIDTH, wrapped
from reports.references import references
from reports.statistics import Verdict

BAR_WIDTH = 0.8
"""Inches that the colour bar takes with its ticks and its label."""
COLUMN_NAME_WIDTH = 14
CLAIMS = {Verdict.BETTER: "better", Verdict.WORSE: "worse", Verdict.EQUIVALENT: "equivalent"}


def filled(
    study: StoredStudy,
    comparisons: dict[str, Comparison],
    rows: Sequence[Hashable],
    columns: Sequence[Hashable],
    cells: Mapping[tuple[Any, Any], str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the cells hold and what they say.

    Args:
        study: the study.
        comparisons: of all its arms.
        rows: what tells the rows apart.
        columns: the same of the columns.
        cells: (row, column) → arm.

    """
    values = pd.DataFrame(index=pd.Index(list(rows)), columns=pd.Index(list(columns)), dtype=float)
    labels = values.astype(object)
    widths = [c.high - c.low for c in comparisons.values() if math.isfinite(c.high - c.low)]
    decimals = min(numbers.decimals_for(float(np.median(widths)) / 2) if widths else 3, 4)
    for (row, column), arm in cells.items():
        mean = mean_difference(study, comparisons, arm)
        if mean is None:
            labels.at[row, column] = "no pair"
            continue
        values.at[row, column] = mean
        text = "reference" if arm in references(study) else numbers.fixed(mean, decimals, sign=True)
        claim = CLAIMS.get(comparisons[arm].verdict) if arm in comparisons else None
        labels.at[row, column] = f"{text}\n{claim}" if claim else text
    return values, labels.fillna("")


def mean_difference(study: StoredStudy, comparisons: dict[str, Comparison], arm: str) -> float | None:
    """Return an arm's mean difference to its reference; None where it has no pair, or learned another task."""
    if arm in references(study):
        return 0.0
    return comparisons[arm].mean if arm in comparisons and comparisons[arm].pairs.count else None


def fitted(rows: Sequence[str], columns: Sequence[str], labels: Iterable[pd.DataFrame]) -> tuple[float, list[str]]:
    """Return the width of a figure in which nothing overlaps, inches, and the names of the columns as they fit in."""
    names = CHARACTER_WIDTH * _longest(rows) + BAR_WIDTH
    cell = _longest(str(text) for table in labels for text in table.to_numpy().ravel())
    wide = int((TEXT_WIDTH - names) / len(columns) / CHARACTER_WIDTH)
    fitting = [wrapped(name, min(COLUMN_NAME_WIDTH, max(wide, 4))) for name in columns]
    needed = names + len(columns) * CHARACTER_WIDTH * max(cell, _longest(fitting))
    return COLUMN_WIDTH if needed <= COLUMN_WIDTH else TEXT_WIDTH, fitting


def rows_height(rows: Iterable[str]) -> float:
    """Return the inches that the rows of a heat map take: each has room for the two lines of a cell."""
    return 1.15 * LINE_HEIGHT * sum(max(2, name.count("\n") + 1) for name in rows)


def draw_cells(
    axes: Axes,
    table: pd.DataFrame,
    labels: pd.DataFrame,
    rows: Sequence[str],
    columns: Sequence[str],
    reach: float | None = None,
) -> None:
    """Draw a table of differences, coloured from −`reach` to `reach` (when not given, its own largest)."""
    reach = reach or largest(table)
    low = rows_height(rows) < CHARACTER_WIDTH * len("difference to the reference")
    label = "difference to\nthe reference" if low else "difference to the reference"
    sns.heatmap(
        table, ax=axes, cmap="vlag", vmin=-reach, vmax=reach, linewidths=1.0, linecolor="none", annot=labels, fmt="",
        annot_kws={"fontsize": 7, "linespacing": 1.1},
        cbar_kws={"label": f"{label}\n(nats per token)", "aspect": 12, "pad": 0.02}, xticklabels=columns,
        yticklabels=rows,
    )  # fmt: skip
    for text in axes.texts:  # almost white: the page turns pure white into its own ground
        if text.get_color() == "w":
            text.set_color("#fefefe")
    missing = np.argwhere(np.isnan(table.to_numpy()))
    for row, column in missing:
        axes.text(column + 0.5, row + 0.5, str(labels.iat[row, column]) or "·", ha="center", va="center", color=INK)
    axes.tick_params(length=0)
    axes.tick_params(rotation=0)
    axes.collections[0].colorbar.outline.set_visible(False)  # type: ignore[union-attr]


def largest(table: pd.DataFrame) -> float:
    """Return the largest difference of a table in either direction."""
    return float(np.nanmax(np.abs(table.to_numpy()))) or 1e-3


def _longest(texts: Iterable[str]) -> int:
    return max(len(line) for text in texts for line in text.split("\n"))
