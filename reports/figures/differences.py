"""Paired differences: every arm's mean difference to the reference, its interval, and the seeds it is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports.comparisons import Comparison, compare
from reports.figures.rows import draw_estimate, finish_rows, row_heights, row_places
from reports.figures.style import (
    COLUMN_WIDTH,
    GRID,
    INK,
    MUTED,
    arm_styles,
    drawn,
    new_figure,
    wrapped,
)

NAME_WIDTH = 20


@drawn
def paired_differences(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw a dot and a 95 % t interval an arm, every seed's difference as a small mark above; None without a pair."""
    comparisons = [comparison for comparison in compare(study, trials).values() if comparison.pairs.count]
    if not comparisons:
        return None
    styles = arm_styles(study)
    names = [wrapped(styles[comparison.arm].label, NAME_WIDTH, 3) for comparison in comparisons]
    rows = row_heights(names)
    figure = new_figure(COLUMN_WIDTH, sum(rows) + 0.62)
    axes = figure.subplots()
    draw_ground(axes, study.equivalence_margin, comparisons)
    places = row_places(rows)
    for place, found in zip(places, comparisons, strict=True):
        interval = (found.low, found.high)
        draw_estimate(axes, place, found.mean, interval, found.pairs.differences, styles[found.arm])
    word = "paired difference" if all(c.pairs.proven for c in comparisons) else "difference by seed"
    finish_rows(axes, names, places, sum(rows), f"{word} in validation loss (nats per token)")
    return figure


def draw_ground(axes: Axes, margin: float, comparisons: Sequence[Comparison]) -> None:
    """Draw the zero line, and the margin of equivalence where it lies near enough to be seen as one."""
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for text, side, offset in (("← better", "right", -4), ("worse →", "left", 4)):
        axes.annotate(
            text, (0, 1), (offset, 1), xycoords=("data", "axes fraction"), textcoords="offset points", ha=side,
            va="bottom", color=MUTED,
        )  # fmt: skip
    reach = max(
        float(np.nanmax(np.abs([*c.pairs.differences, c.low, c.high]))) for c in comparisons
    )  # NaN ends are skipped: there is a pair in every comparison
    if 0 < margin <= 3 * reach:
        axes.axvspan(-margin, margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)
