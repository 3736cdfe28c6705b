"""Lines of trials and of their mean, in panels that hold several arms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.figures.curves import mean_rows


def draw_trials(
    axes: Axes, rows: pd.DataFrame, column: str, against: str, colour: str, dashes: Any, *, width: float = 0.4
) -> None:
    """Draw each trial of an arm thin; nothing where there is one only, which is its own mean."""
    if rows["trial"].nunique() > 1:
        for _, trial in rows.groupby("trial", sort=False):
            axes.plot(trial[against], trial[column], color=colour, linewidth=width, alpha=width, linestyle=dashes)


def draw_mean(
    axes: Axes,
    trials: pd.DataFrame,
    rows: pd.DataFrame,
    column: str,
    against: str,
    colour: str,
    dashes: Any,
    *,
    geometric: bool = False,
) -> None:
    """Draw the mean of an arm bold, over the trials that `mean_rows` takes; a geometric one of positive numbers."""
    means = mean_rows(trials, rows, column).groupby(against)[column]
    line = np.exp(means.agg(lambda values: np.log(values).mean())) if geometric else means.mean()
    axes.plot(line.index, line.to_numpy(), color=colour, linewidth=1.4, linestyle=dashes, zorder=3)
