"""Heat maps of differences to the reference: what each cell says, and how it is coloured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison
from reports.figures.style import INK
from reports.statistics import Verdict

CLAIMS = {Verdict.BETTER: "better", Verdict.WORSE: "worse", Verdict.EQUIVALENT: "equivalent"}


def filled(
    study: StoredStudy, comparisons: dict[str, Comparison], table: pd.DataFrame, cells: dict[tuple[Any, Any], str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the cells hold and what they say.

    Args:
        study: the study.
        comparisons: of all its arms.
        table: an empty one, of the rows and columns wanted.
        cells: (row, column) → arm.

    """
    values, labels = table.astype(float), table.astype(object)
    widths = [c.high - c.low for c in comparisons.values() if math.isfinite(c.high - c.low)]
    decimals = min(numbers.decimals_for(float(np.median(widths)) / 2) if widths else 3, 4)
    for (row, column), arm in cells.items():
        mean = mean_difference(study, comparisons, arm)
        if mean is None:
            labels.at[row, column] = "no pair"
            continue
        values.at[row, column] = mean
        text = "reference" if arm == study.reference else numbers.fixed(mean, decimals, sign=True)
        claim = CLAIMS.get(comparisons[arm].verdict) if arm in comparisons else None
        labels.at[row, column] = f"{text}\n{claim}" if claim else text
    return values, labels.fillna("")


def mean_difference(study: StoredStudy, comparisons: dict[str, Comparison], arm: str) -> float | None:
    """Return an arm's mean difference to the reference; None where it has no pair."""
    if arm == study.reference:
        return 0.0
    return comparisons[arm].mean if comparisons[arm].pairs.count else None


def draw_cells(axes: Axes, table: pd.DataFrame, labels: pd.DataFrame, reach: float | None = None) -> None:
    """Draw a table of differences, coloured from −`reach` to `reach` (when not given, its own largest)."""
    reach = reach or largest(table)
    sns.heatmap(
        table, ax=axes, cmap="vlag", vmin=-reach, vmax=reach, linewidths=1.0, linecolor="none", annot=labels, fmt="",
        annot_kws={"fontsize": 7, "linespacing": 1.1},
        cbar_kws={"label": "difference to the reference\n(nats per token)", "aspect": 12, "pad": 0.02},
    )  # fmt: skip
    for text in axes.texts:  # almost white: the page turns pure white into its own ground
        if text.get_color() == "w":
            text.set_color("#fefefe")
    missing = np.argwhere(np.isnan(table.to_numpy()))
    for row, column in missing:
        axes.text(column + 0.5, row + 0.5, str(labels.iat[row, column]) or "·", ha="center", va="center", color=INK)
    axes.tick_params(length=0)
    axes.set_yticklabels(axes.get_yticklabels(), rotation=0)
    axes.set_xticklabels(axes.get_xticklabels(), rotation=0)
    axes.collections[0].colorbar.outline.set_visible(False)  # type: ignore[union-attr]


def largest(table: pd.DataFrame) -> float:
    """Return the largest difference of a table in either direction."""
    return float(np.nanmax(np.abs(table.to_numpy()))) or 1e-3
