"""Paired differences: every arm's mean difference to the reference, its interval, and the seeds it is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablations.stored import StoredStudy
from reports.comparisons import Comparison, compare
from reports.figures.style import (
    COLUMN_WIDTH,
    GRID,
    INK,
    LINE_HEIGHT,
    MUTED,
    PAPER,
    ROUND_STEPS,
    ArmStyle,
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
    rows = [max(0.27, LINE_HEIGHT * (name.count("\n") + 1) + 0.06) for name in names]
    figure = new_figure(COLUMN_WIDTH, sum(rows) + 0.62)
    axes = figure.subplots()
    _ground(axes, study, comparisons)
    places = np.cumsum(rows) - np.asarray(rows) / 2  # inches from the top, so that a long name gets more room
    for place, comparison in zip(places, comparisons, strict=True):
        _draw_arm(axes, float(place), comparison, styles[comparison.arm])
    axes.set_ylim(sum(rows), 0)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    word = "paired difference" if all(c.pairs.proven for c in comparisons) else "difference by seed"
    # Flush right: the text is longer than the axes beside the names, and may run on under them.
    axes.set_xlabel(f"{word} in validation loss (nats per token)", loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.grid(True)
    axes.set_axisbelow(True)
    sns.despine(ax=axes, left=True)
    return figure


def _ground(axes: Axes, study: StoredStudy, comparisons: Sequence[Comparison]) -> None:
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
    if 0 < study.equivalence_margin <= 3 * reach:
        axes.axvspan(-study.equivalence_margin, study.equivalence_margin, color=GRID, alpha=0.6, linewidth=0, zorder=0)


def _draw_arm(axes: Axes, place: float, comparison: Comparison, style: ArmStyle) -> None:
    differences = comparison.pairs.differences
    axes.plot(differences, np.full(len(differences), place - 0.085), "|", color=style.colour, markersize=4,
              markeredgewidth=0.7, alpha=0.8, zorder=2)  # fmt: skip
    if math.isfinite(comparison.low):
        axes.plot([comparison.low, comparison.high], [place, place], color=style.colour, linewidth=1.6, zorder=3,
                  solid_capstyle="butt")  # fmt: skip
    axes.plot([comparison.mean], [place], style.marker, color=style.colour, markersize=4.5, markeredgecolor=PAPER,
              markeredgewidth=0.6, zorder=4)  # fmt: skip
