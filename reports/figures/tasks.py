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
    ArmStyle,
    arm_styles,
    drawn,
    new_figure,
    plain,
    wrapped,
)
from reports.frames import task_columns
from reports.statistics import shown_interval

NAME_WIDTH = 20
HEADING = 0.42
"""Inches for the title of a panel and the ticks below it."""


@drawn
def task_accuracy(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw each arm's accuracy at the end of training, one panel a task, with chance as a dashed line.

    The dot is the mean over finished trials, the line its 95 % t interval, cut at 0 and 1; small marks are trials,
    because such accuracies fall into two heaps: a seed finds the answer, or stays at chance. None without a task.
    """
    ends = last_accuracies(trials, curves)
    if ends.empty:
        return None
    styles = arm_styles(study)
    arms = [arm.name for arm in study.arms if arm.name in set(ends["arm"])]
    names = [wrapped(styles[name].label, NAME_WIDTH, 3) for name in arms]
    heights = row_heights(names)
    tasks = list(dict.fromkeys(ends["task"]))
    figure = new_figure(COLUMN_WIDTH, len(tasks) * (sum(heights) + HEADING) + 0.2)
    panels = figure.subplots(len(tasks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, task in zip(panels, tasks, strict=True):
        rows = ends[ends["task"] == task]
        for place, name in zip(row_places(heights), arms, strict=True):
            _draw(axes, place, rows.loc[rows["arm"] == name, "accuracy"], styles[name])
        for chance in rows["chance"].dropna().unique():
            axes.axvline(chance, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
        axes.set_title(plain(task), loc="left", pad=3)
        axes.set_ylim(sum(heights), 0)
        axes.set_yticks(row_places(heights), names, fontsize=FONT_SIZE)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol="\N{NARROW NO-BREAK SPACE}%"))
        bare_rows(axes)
    panels[-1].set_xlabel("accuracy (dashed: chance)")
    return figure


def last_accuracies(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row a finished trial and task: `arm`, `seed`, `task`, `accuracy`, `chance` (NaN where not told).

    Args:
        trials, curves: completed ones; a task's columns are `task:NAME/accuracy` and `task:NAME/chance`.

    """
    done = curves[curves["trial"].isin(trials.loc[trials["status"] == "done", "trial"])]
    # Arms that mean the same run share its trial, and each has a row of its own.
    lasts = done.sort_values("step", kind="stable").drop_duplicates(["arm", "trial"], keep="last")
    found = []
    for task in task_columns(curves):
        accuracy, chance = f"task:{task}/accuracy", f"task:{task}/chance"
        values = pd.to_numeric(lasts[accuracy])
        known = pd.to_numeric(lasts[chance]) if chance in lasts else pd.Series(np.nan, index=lasts.index)
        found.append(lasts[["arm", "seed"]].assign(task=task, accuracy=values, chance=known).dropna(subset="accuracy"))
    return pd.concat(found) if found else pd.DataFrame(columns=["arm", "seed", "task", "accuracy", "chance"])


def _draw(axes: Axes, place: float, values: pd.Series[float], style: ArmStyle) -> None:
    accuracies = values.to_numpy(dtype=np.float64)
    if not accuracies.size:
        return
    low, high = shown_interval(accuracies)
    draw_estimate(axes, place, float(accuracies.mean()), (max(low, 0.0), min(high, 1.0)), accuracies, style)
