"""How well trials do at planning tasks, whose answers are known: accuracy beside chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ablations.stored import StoredStudy
from reports.figures.rows import bare_rows, draw_estimate, row_heights, row_places
from reports.figures.style import (
    COLUMN_WIDTH,
    FONT_SIZE,
    MUTED,
    TEXT_WIDTH,
    ArmStyle,
    arm_styles,
    drawn,
    new_figure,
    plain,
    wrapped,
)
from reports.statistics import shown_interval
from reports.task_results import last_accuracies, task_title

NAME_WIDTH = 20
WIDE_NAME_WIDTH = 28
HEADING = 0.42
"""Inches for the title of a panel and the ticks below it."""
CHANCE_WIDTH = 0.9
CHANCE_DASHES = (0, (3, 2))
MOST_TASKS = 4
"""So many accuracies have panels, the first that trials wrote; the CSV of the table has all."""


@drawn
def task_accuracy(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw each arm's accuracy at the end of training, one panel a task side by side, with chance as a dashed line.

    The dot is the mean over finished trials, the line its 95 % t interval, cut at 0 and 1; small marks are trials,
    because such accuracies fall into two heaps: a seed finds the answer, or stays at chance. The first four tasks have
    panels. None without a task.
    """
    ends = last_accuracies(trials, curves)
    if ends.empty:
        return None
    styles = arm_styles(study)
    arms = [arm.name for arm in study.arms if arm.name in set(ends["arm"])]
    tasks = list(dict.fromkeys(ends["task"]))[:MOST_TASKS]
    names = [wrapped(styles[name].label, NAME_WIDTH if len(tasks) == 1 else WIDE_NAME_WIDTH, 3) for name in arms]
    heights = row_heights(names)
    figure = new_figure(COLUMN_WIDTH if len(tasks) == 1 else TEXT_WIDTH, sum(heights) + HEADING + 0.2)
    panels = figure.subplots(1, len(tasks), sharex=True, sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        rows = ends[ends["task"] == task]
        for place, name in zip(row_places(heights), arms, strict=True):
            _draw(axes, place, rows.loc[rows["arm"] == name, "accuracy"], styles[name])
        for chance in rows["chance"].dropna().unique():
            axes.axvline(chance, color=MUTED, linewidth=CHANCE_WIDTH, linestyle=CHANCE_DASHES, zorder=1)
        axes.set_title(plain(task_title(task)), loc="left", pad=3)
        axes.set_ylim(sum(heights), 0)
        axes.set_yticks(row_places(heights), names, fontsize=FONT_SIZE)
        axes.set_xlim(-0.05, 1.05)
        axes.set_xticks([0, 0.5, 1] if len(tasks) > 1 else [0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(percent())
        bare_rows(axes)
    figure.supxlabel("accuracy (dashed: chance)", fontsize=FONT_SIZE)
    return figure


def percent() -> PercentFormatter:
    """Return what writes shares along an axis as percent."""
    return PercentFormatter(1.0, symbol="\N{NARROW NO-BREAK SPACE}%")


def _draw(axes: Axes, place: float, values: pd.Series[float], style: ArmStyle) -> None:
    accuracies = values.to_numpy(dtype=np.float64)
    if not accuracies.size:
        return
    low, high = shown_interval(accuracies)
    draw_estimate(axes, place, float(accuracies.mean()), (max(low, 0.0), min(high, 1.0)), accuracies, style)
