"""Planning tasks over training: where seeds jump from chance to the answer, and what else was measured meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, MultipleLocator

from ablations.stored import StoredStudy
from reports.figures.lines import draw_mean, draw_trials
from reports.figures.style import (
    COLUMN_WIDTH,
    MOST_ARMS_WITH_SEEDS,
    MUTED,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    arm_styles,
    drawn,
    legend_below,
    new_figure,
    plain,
)
from reports.figures.tasks import CHANCE_DASHES, CHANCE_WIDTH, MOST_TASKS, percent
from reports.task_results import (
    accuracy_column,
    chance_column,
    measured_tasks,
    measured_values,
    task_title,
    value_column,
)

MOST_STACKED = 2
"""So many panels stand in one column; more stand in two."""
SEED_WIDTH = 0.6
"""Points: a little more than elsewhere, because a mean of seeds in two heaps is like none of them."""
PANEL = 1.3
"""Inches of height."""


@drawn
def task_curves(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw accuracies over training steps, one panel a task, and numbers that are no shares in panels of their own.

    Thin lines are trials, bold ones the mean of an arm, the dashed line is chance. The first four tasks, and the first
    four numbers, have panels; None without a task, or where no trial was measured twice.
    """
    tasks, values = measured_tasks(curves)[:MOST_TASKS], measured_values(curves)[:MOST_TASKS]
    measured = curves.dropna(subset=[accuracy_column(task) for task in tasks], how="all")
    if not tasks or measured["step"].nunique() < 2:
        return None
    styles = arm_styles(study)
    arms = [name for name in styles if name in set(measured["arm"])]
    shown = [(task, accuracy_column(task)) for task in tasks] + [(name, value_column(name)) for name in values]
    figure, panels = _panels(len(shown))
    for axes, (name, column) in zip(panels, shown, strict=True):
        _draw_arms(axes, trials, curves, column, {arm: styles[arm] for arm in arms})
        axes.set_title(plain(task_title(name)), loc="left", pad=3)
        axes.set_xlim(0, float(measured["step"].max()))
    chances = [_draw_chance(axes, curves, task) for axes, task in zip(panels, tasks, strict=False)]
    key = [ArmStyle(MUTED, CHANCE_DASHES, "", "chance")] if any(chances) else []
    legend_below(figure, [*(styles[arm] for arm in arms), *key])
    return figure


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its panels, those at the bottom of a column with what the steps are."""
    columns = 1 if count <= MOST_STACKED else 2
    rows = -(-count // columns)
    figure = new_figure(COLUMN_WIDTH if columns == 1 else TEXT_WIDTH, PANEL * rows + 0.3)
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in panels[count:]:
        spare.remove()
    for place, axes in enumerate(panels[:count]):
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
        axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NARROW NO-BREAK SPACE}"))
        axes.yaxis.grid(True)
        sns.despine(ax=axes)
        if place + columns >= count:
            axes.set_xlabel("training steps")
        else:
            axes.tick_params(axis="x", labelbottom=False)
    return figure, panels[:count]


def _draw_arms(
    axes: Axes, trials: pd.DataFrame, curves: pd.DataFrame, column: str, styles: dict[str, ArmStyle]
) -> None:
    for arm, style in styles.items():
        rows = curves[curves["arm"] == arm].dropna(subset=[column])
        if len(styles) <= MOST_ARMS_WITH_SEEDS:
            draw_trials(axes, rows, column, "step", style.colour, style.dashes, width=SEED_WIDTH)
        draw_mean(axes, trials[trials["arm"] == arm], rows, column, "step", style.colour, style.dashes)
    if column.endswith("/value"):
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    else:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_locator(MultipleLocator(0.25))
        axes.yaxis.set_major_formatter(percent())


def _draw_chance(axes: Axes, curves: pd.DataFrame, task: str) -> bool:
    """Draw what guessing gets, and say whether it is known."""
    column = chance_column(task)
    known = curves[column].dropna().unique() if column in curves else ()
    for chance in known:
        axes.axhline(chance, color=MUTED, linewidth=CHANCE_WIDTH, linestyle=CHANCE_DASHES, zorder=1)
    return len(known) > 0
