"""Planning tasks over training: where seeds jump from chance to the answer, and what else was measured meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, MultipleLocator

from ablations.stored import StoredArm, StoredStudy
from reports.figures.lines import draw_mean, draw_trials
from reports.figures.style import (
    COLUMN_WIDTH,
    MOST_ARMS_WITH_SEEDS,
    MUTED,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    arm_styles,
    distinct_labels,
    drawn,
    legend_below,
    new_figure,
    numbered_style,
    plain,
)
from reports.figures.sweeps import short
from reports.figures.task_lines import UNGROUPED
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


MOST_SETTINGS = 8
"""Panels where arms learned several tasks."""


@dataclass(frozen=True)
class _Panel:
    """One pair of axes: its title, the task whose chance is drawn, the column, and the label of each arm."""

    title: str
    task: str | None
    column: str
    labels: dict[str, str]


@drawn
def task_curves(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw accuracies over training steps, one panel a task, and numbers that are no shares in panels of their own.

    Thin lines are trials, bold ones the mean of an arm, the dashed line is chance. The first four tasks, and the first
    four numbers, have panels. Where arms learned several settings of a task, each setting has a panel of its main
    accuracy, the first eight of them, and one colour is what the arms have in common otherwise. None without a task, or
    where no trial was measured twice.
    """
    tasks = measured_tasks(curves)
    measured = curves.dropna(subset=[accuracy_column(task) for task in tasks], how="all")
    if not tasks or measured["step"].nunique() < 2:
        return None
    present = set(measured["arm"])
    panels = _of_settings(study, tasks[0], present) or _of_measures(study, curves, tasks, present)
    labels = list(dict.fromkeys(label for panel in panels for label in panel.labels.values()))
    styles = _styles(study, panels, labels)
    figure, grid = _grid(len(panels))
    chances = []
    for axes, panel in zip(grid, panels, strict=True):
        _draw_arms(axes, trials, curves, panel.column, {arm: styles[label] for arm, label in panel.labels.items()})
        axes.set_title(plain(panel.title), loc="left", pad=3)
        axes.set_xlim(0, float(measured["step"].max()))
        chances.append(panel.task is not None and _draw_chance(axes, curves, panel.task, set(panel.labels)))
    key = [ArmStyle(MUTED, CHANCE_DASHES, "", "chance")] if any(chances) else []
    legend_below(figure, [*(styles[label] for label in labels), *key])
    return figure


def several_settings(study: StoredStudy) -> int:
    """Return how many settings of a task arms learned, each of which has a panel; 0 where it is one."""
    found = {_settings(arm) for arm in study.arms if not arm.control}
    return len(found) if len(found) > 1 else 0


def _of_measures(study: StoredStudy, curves: pd.DataFrame, tasks: Sequence[str], present: set[str]) -> list[_Panel]:
    """Return a panel a task, and one a number that is no share."""
    labels = {arm.name: arm.name for arm in study.arms if arm.name in present}
    shown = [_Panel(task_title(task), task, accuracy_column(task), labels) for task in tasks[:MOST_TASKS]]
    numbers = measured_values(curves)[:MOST_TASKS]
    return shown + [_Panel(task_title(name), None, value_column(name), labels) for name in numbers]


def _of_settings(study: StoredStudy, task: str, present: set[str]) -> list[_Panel]:
    """Return a panel a setting of the task that arms learned; none where it is one."""
    if not several_settings(study):
        return []
    found: dict[str, dict[str, str]] = {}
    for arm in study.arms:
        if arm.name in present and not arm.control:
            others = {key: arm.settings[key] for key in study.factors if key in arm.settings and not _of_task(key)}
            label = ", ".join(part for part in (arm.group or "", short(others)) if part) or UNGROUPED
            found.setdefault(_settings(arm), {})[arm.name] = label
    column = accuracy_column(task)
    return [_Panel(title, task, column, labels) for title, labels in list(found.items())[:MOST_SETTINGS]]


def _settings(arm: StoredArm) -> str:
    return short({key: value for key, value in arm.settings.items() if _of_task(key)})


def _of_task(key: str) -> bool:
    return key.startswith("data.task.")


def _styles(study: StoredStudy, panels: Sequence[_Panel], labels: Sequence[str]) -> dict[str, ArmStyle]:
    """Return label → style: that of the arm with this name, or a colour of its own."""
    if all(arm == label for panel in panels for arm, label in panel.labels.items()):
        return arm_styles(study)
    named = zip(labels, distinct_labels(labels), strict=True)
    return {label: numbered_style(place, shown) for place, (label, shown) in enumerate(named)}


def _grid(count: int) -> tuple[Figure, Sequence[Axes]]:
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


def _draw_chance(axes: Axes, curves: pd.DataFrame, task: str, arms: set[str]) -> bool:
    """Draw what guessing gets, and say whether it is known."""
    column = chance_column(task)
    known = curves.loc[curves["arm"].isin(list(arms)), column].dropna().unique() if column in curves else ()
    for chance in known:
        axes.axhline(chance, color=MUTED, linewidth=CHANCE_WIDTH, linestyle=CHANCE_DASHES, zorder=1)
    return len(known) > 0
