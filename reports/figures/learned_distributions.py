"""How far ahead objectives found that they should look, beside the distance over which their task is determined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablations.stored import StoredArm, StoredStudy
from reports.distributions import distributions
from reports.figures.style import (
    ARM_COLOURS,
    CHARACTER_WIDTH,
    COLUMN_WIDTH,
    MUTED,
    TEXT_WIDTH,
    ArmStyle,
    drawn,
    legend_below,
    new_figure,
    plain,
    wrapped,
)
from reports.figures.sweeps import is_number
from reports.figures.tasks import CHANCE_DASHES
from reports.frames import complete_curves, complete_trials
from reports.task_results import last_evaluations

DELAY = "data.task.delay"
MOST_LEARNED = 8
"""Panels of one figure."""
ACROSS = 4
START_DOTS = (0, (1, 1.5))


@dataclass(frozen=True)
class _Panel:
    arm: str
    what: str
    delay: float | None
    shares: list[list[float]]


@drawn
def learned_distributions(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw the distributions over 1 … n tokens ahead that objectives had learned by the end of training.

    One panel an arm, the first eight; a line is a trial. The dotted line is where every distribution begins, the dashed
    one stands at the delay of the arm's task, where it has one. None without a finished trial that reports any.
    """
    panels = _panels(study, trials, curves)[:MOST_LEARNED]
    if not panels:
        return None
    down, across = -(-len(panels) // ACROSS), min(len(panels), ACROSS)
    width = TEXT_WIDTH if across > 2 else COLUMN_WIDTH
    room = int(width / across / CHARACTER_WIDTH) - 4
    titles = [wrapped(plain(panel.arm), room, 2) for panel in panels]
    figure = new_figure(width, (1.45 + 0.13 * max(title.count("\n") + 1 for title in titles)) * down)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for place, (axes, panel, title) in enumerate(zip(grid.flat, panels, titles, strict=False)):
        _draw(axes, panel)
        axes.set_title(title, loc="left")
        axes.set_ylabel("probability" if place % ACROSS == 0 else "")
    keys = [ArmStyle(MUTED, START_DOTS, "", "as it began")]
    if any(panel.delay is not None for panel in panels):
        keys.append(ArmStyle(MUTED, CHANCE_DASHES, "", "delay of the task"))
    legend_below(figure, keys)
    return figure


def learning_arms(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> int:
    """Return how many panels all learned distributions of a study take."""
    return len(_panels(study, complete_trials(study, trials), complete_curves(study, curves)))


def _panels(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> list[_Panel]:
    lasts, reported = last_evaluations(trials, curves), distributions(curves)
    found = []
    for arm in study.arms:
        rows = lasts[lasts["arm"] == arm.name]
        for one in reported if not arm.control else []:
            shares = rows[list(one.columns)].to_numpy(dtype=float)
            known = [row[~np.isnan(row)].tolist() for row in shares if not np.isnan(row).all()]
            if known:
                found.append(_Panel(arm.name, one.what, _delay(arm), known))
    return found


def _delay(arm: StoredArm) -> float | None:
    """Return the delay of an arm's task; None where it has none, or is told of none."""
    task = (arm.config.get("data") or {}).get("task")
    delay = arm.settings.get(DELAY, task.get("delay") if isinstance(task, Mapping) else None)
    return float(delay) if is_number(delay) else None


def _draw(axes: Axes, panel: _Panel) -> None:
    for shares in panel.shares:
        places = range(1, len(shares) + 1)
        axes.plot(places, shares, color=ARM_COLOURS[0], linewidth=0.9, alpha=0.8)
        axes.plot(places, [1 / len(shares)] * len(shares), color=MUTED, linewidth=0.8, linestyle=START_DOTS, zorder=1)
    if panel.delay is not None:
        axes.axvline(panel.delay, color=MUTED, linewidth=0.9, linestyle=CHANCE_DASHES, zorder=1)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 4, 5, 10]))
    axes.set_xlabel(f"{panel.what} (tokens)")
    axes.yaxis.grid(True)
    sns.despine(ax=axes)
