"""Rows of estimates: a name at the left, a dot with its interval, and small marks for the seeds that it is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.figures.style import LINE_HEIGHT, PAPER, ROUND_STEPS, ArmStyle

ROW = 0.27
"""Inches that one row takes, and more where its name has many lines."""


def row_heights(names: Sequence[str], least: float = ROW) -> list[float]:
    """Return the inches that each row takes: a name of several lines gets more room."""
    return [max(least, LINE_HEIGHT * (name.count("\n") + 1) + 0.06) for name in names]


def row_places(heights: Sequence[float]) -> list[float]:
    """Return the middle of each row, inches from the top."""
    places: list[float] = (np.cumsum(heights) - np.asarray(heights) / 2).tolist()
    return places


def draw_estimate(
    axes: Axes, place: float, mean: float, interval: tuple[float, float], seeds: npt.ArrayLike, style: ArmStyle
) -> None:
    """Draw one row: the dot, the interval where it is known, and the seeds a little above."""
    seeds = np.asarray(seeds)
    if seeds.size:
        axes.plot(seeds, np.full(seeds.shape, place - 0.085), "|", color=style.colour, markersize=4,
                  markeredgewidth=0.7, alpha=0.8, zorder=2)  # fmt: skip
    if math.isfinite(interval[0]):
        axes.plot(interval, [place, place], color=style.colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
    axes.plot([mean], [place], style.marker, color=style.colour, markersize=4.5, markeredgecolor=PAPER,
              markeredgewidth=0.6, zorder=4)  # fmt: skip


def finish_rows(axes: Axes, names: Sequence[str], places: Sequence[float], height: float, label: str) -> None:
    """Name the rows, which take `height` inches, and what the axis below shows."""
    axes.set_ylim(height, 0)
    axes.set_yticks(list(places), list(names))
    # Flush right: the text may be longer than the axes beside the names, and runs on under them.
    axes.set_xlabel(label, loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    bare_rows(axes)


def bare_rows(axes: Axes) -> None:
    """Leave a grid of vertical lines and no edge at the left."""
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(True)
    axes.set_axisbelow(True)
    sns.despine(ax=axes, left=True)
