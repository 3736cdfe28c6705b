"""Size against loss: which arms give the lowest loss that a model of their size gives in this study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ablations.stored import StoredStudy
from reports.figures.curves import band
from reports.figures.style import (
    COLUMN_WIDTH,
    MUTED,
    PAPER,
    ROUND_STEPS,
    ArmStyle,
    arm_styles,
    drawn,
    legend_below,
    new_figure,
)
from reports.frames import results
from reports.references import arms_by_task

LEAST_RATIO = 1.01
"""Arms whose sizes lie closer together than this are of one size: there is no front to speak of."""


@drawn
def size_and_loss(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw each arm's mean validation loss, with its 95 % t interval over seeds, against its inference parameters.

    The grey line is the Pareto front of the means: no arm on it has another that is both smaller and better. Where arms
    learned several tasks, each task has its own. None unless arms of one task with finished trials differ in size by
    more than one percent.
    """
    losses = {arm.name: found for arm in study.arms if len(found := results(trials, arm.name))}
    by_task = [
        {arm.name: float(arm.inference_parameters) for arm in arms if arm.name in losses}
        for arms in arms_by_task(study)
    ]
    by_task = [sizes for sizes in by_task if sizes and max(sizes.values()) / min(sizes.values()) > LEAST_RATIO]
    if not by_task:
        return None
    styles = arm_styles(study)
    figure = new_figure(COLUMN_WIDTH, 2.3)
    axes = figure.subplots()
    sizes = {arm: size for task in by_task for arm, size in task.items()}
    means = {arm: float(losses[arm].mean()) for arm in sizes}
    for arm, size in sizes.items():
        style = styles[arm]
        axes.plot([size, size], band(losses[arm]), color=style.colour, linewidth=1.1, zorder=2)
        axes.plot([size], [means[arm]], style.marker, color=style.colour, markersize=5, markeredgecolor=PAPER,
                  markeredgewidth=0.6, zorder=3)  # fmt: skip
    right = axes.get_xlim()[1]
    for task in by_task:
        _draw_front(axes, front([(size, means[arm]) for arm, size in task.items()]), right)
    axes.set(xlabel="inference parameters", ylabel="validation loss (nats per token)")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NARROW NO-BREAK SPACE}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.yaxis.grid(True)
    sns.despine(ax=axes)
    legend_below(figure, [*(styles[arm] for arm in sizes), ArmStyle(MUTED, "-", "", "Pareto front")], markers=True)
    return figure


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (size, loss) that no other one beats in one and equals in the other, by ascending size."""
    kept: list[tuple[float, float]] = []
    for size, loss in sorted(points):
        if not kept or loss < kept[-1][1]:
            kept.append((size, loss))
    return kept


def _draw_front(axes: Axes, points: Sequence[tuple[float, float]], right: float) -> None:
    """Draw the front as steps, to the right of its largest arm too: a larger model may always be left unused."""
    sizes, losses = (np.asarray(values) for values in zip(*points, strict=True))
    axes.step([*sizes, right], [*losses, losses[-1]], where="post", color=MUTED, linewidth=0.9, zorder=1)
    axes.set_xlim(right=right)
