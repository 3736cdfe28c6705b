"""The n-sweep: validation loss against the horizon of the objective, beside the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ablations.stored import StoredStudy
from reports.figures.curves import band
from reports.figures.style import (
    COLUMN_WIDTH,
    INK,
    ROUND_STEPS,
    ArmStyle,
    arm_styles,
    drawn,
    name_lines,
    new_figure,
    numbered_style,
)
from reports.figures.sweeps import HORIZON, Sweep, find_key, is_number, sweep_labels, sweeps
from reports.frames import results
from reports.references import arms_by_task

MOST_SWEEPS_WITH_INTERVALS = 3
"""With more lines than this, intervals cover each other: only means are drawn."""
LOG_RATIO = 12.0
"""Numbers that span more than this ratio are drawn on a logarithmic axis."""


@drawn
def horizon_sweep(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw mean validation loss and its 95 % t interval against n, one line a combination of the other factors.

    The reference is a horizontal band. With one line, each seed is drawn too: where they run parallel, pairing helps.
    With more than three lines only the means are drawn.
    None unless the horizon takes two values in arms that agree in everything else.
    """
    key = find_key(study, trials, HORIZON)
    found = sweeps(study, trials, key, is_number) if key else []
    drawable = [(sweep, points) for sweep in found if len(points := _points(trials, sweep)) > 1]
    if not drawable:
        return None
    figure = new_figure(COLUMN_WIDTH, 2.3)
    axes = figure.subplots()
    ends = []
    intervals = len(drawable) <= MOST_SWEEPS_WITH_INTERVALS
    labels = sweep_labels([sweep for sweep, _ in drawable])
    for position, (label, (_, points)) in enumerate(zip(labels, drawable, strict=True)):
        style = numbered_style(position, label or "arms over n")
        # A few lines stand a little apart, or their intervals would hide each other.
        shift = (position - (len(drawable) - 1) / 2) * 0.012 if intervals else 0.0
        _draw_sweep(axes, points, style, shift, seeds=len(drawable) == 1, intervals=intervals)
        ends.append((float(points[-1][1].mean()), style))
    values = sorted({float(value) for _, points in drawable for value, _ in points})
    number_axis(axes, values)
    ends += _draw_reference(axes, study, trials)
    axes.set(xlabel="horizon n (positions ahead)", ylabel="validation loss (nats per token)")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.yaxis.grid(True)
    sns.despine(ax=axes)
    name_lines(axes, ends)
    return figure


def _points(trials: pd.DataFrame, sweep: Sweep) -> list[tuple[float, pd.Series[float]]]:
    pairs = [(float(value), results(trials, arm)) for value, arm in sweep.points]
    return [(value, losses) for value, losses in pairs if len(losses)]


def _draw_sweep(
    axes: Axes,
    points: Sequence[tuple[float, pd.Series[float]]],
    style: ArmStyle,
    shift: float,
    *,
    seeds: bool,
    intervals: bool,
) -> None:
    reach = points[-1][0] - points[0][0]
    horizons = [value + shift * reach for value, _ in points]
    if seeds:
        together = pd.concat(dict(points), axis=1)
        for _, losses in together.iterrows():
            axes.plot(horizons, losses.to_numpy(), color=style.colour, linewidth=0.5, alpha=0.45, zorder=1)
    means = np.array([losses.mean() for _, losses in points])
    reaches = np.abs(np.array([band(losses) for _, losses in points]).T - means)
    axes.errorbar(horizons, means, yerr=reaches if intervals else None, color=style.colour, linestyle=style.dashes,
                  linewidth=1.4, elinewidth=0.9, marker=style.marker, markersize=4, zorder=3)  # fmt: skip


def number_axis(axes: Axes, values: list[float]) -> None:
    """Put ticks below the axes at the numbers that were swept, ascending; logarithmic where these span far."""
    if values[0] > 0 and values[-1] / values[0] > LOG_RATIO:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_reference(axes: Axes, study: StoredStudy, trials: pd.DataFrame) -> list[tuple[float, ArmStyle]]:
    losses = results(trials, study.reference)
    if losses.empty or len(arms_by_task(study)) > 1:  # of another task than some of the lines
        return []
    style = arm_styles(study)[study.reference]
    low, high = band(losses)
    mean = float(losses.mean())
    axes.axhspan(low, high, color=INK, alpha=0.1, linewidth=0, zorder=0)
    axes.axhline(mean, color=INK, linewidth=1.1, linestyle=style.dashes, zorder=2)
    return [(mean, style)]
