"""The final loss by position in the window: where in its context an arm gains or loses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ablations.stored import StoredStudy
from reports.figures.style import (
    COLUMN_WIDTH,
    INK,
    MOST_ARMS_WITH_SEEDS,
    ROUND_STEPS,
    ArmStyle,
    applied,
    arm_styles,
    legend_below,
    new_figure,
)
from reports.references import compared_with
from reports.statistics import shown_interval


def losses_by_position(positions: pd.DataFrame) -> pd.DataFrame:
    """Return the loss of each arm and seed in ranges of positions that double in width.

    Args:
        positions: as `ablations.breakdowns.Breakdowns.positions`.

    Returns:
        Indexed by arm and seed, one column a range by its middle (geometric, counted from 1), nats per token.

    """
    places = positions["position"].to_numpy(dtype=np.int64) + 1
    # Ranges 1, 2, 3-4, 5-8, …: each ends at a power of two, or where the window does.
    powers = np.ceil(np.log2(places)).astype(np.int64)
    firsts = np.where(powers > 0, 2 ** (powers - 1).clip(0) + 1, 1)
    ends = np.minimum(2**powers, places.max())
    middles = np.sqrt(firsts * ends.astype(np.float64))
    sums = positions.assign(middle=middles).groupby(["arm", "seed", "middle"], sort=False)[["nats", "tokens"]].sum()
    return (sums["nats"] / sums["tokens"]).unstack("middle").sort_index(axis=1)


def by_arm(losses: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each arm, indexed by seed, of a frame that is indexed by arm and seed."""
    return {str(arm): rows.droplevel("arm") for arm, rows in losses.groupby(level="arm", sort=False)}


def loss_by_position(study: StoredStudy, positions: pd.DataFrame) -> Figure | None:
    """Draw the loss at the end of training by position, and below it each arm's difference to the reference by seed.

    Ranges of positions double in width; bands are 95 % t intervals over seeds, from three pairs on and for up to eight
    arms. None where no arm and its reference have finished trials, or where all that counts is one range.
    """
    if positions.empty:
        return None
    losses = by_arm(losses_by_position(positions))
    arms = [arm.name for arm in study.arms if arm.name in losses]
    pairs = {arm: of for arm, of in compared_with(study).items() if arm in losses and of in losses}
    if not pairs or losses[arms[0]].shape[1] < 2:
        # The answers of a task may lie at a few late positions.
        return None
    with applied():
        styles = arm_styles(study)
        figure = new_figure(COLUMN_WIDTH, 3.1)
        top, bottom = figure.subplots(2, 1, sharex=True)
        bottom.axhline(0, color=INK, linewidth=0.9, zorder=1)
        for name in arms:
            means: pd.Series[float] = losses[name].mean()
            top.plot(means.index, means, color=styles[name].colour, linestyle=styles[name].dashes, zorder=3)
            if name in pairs:
                differences = losses[name] - losses[pairs[name]]
                _draw_differences(bottom, differences, styles[name], len(arms) <= MOST_ARMS_WITH_SEEDS)
        top.set_ylabel("validation loss\n(nats per token)")
        bottom.set_ylabel("difference\n(nats per token)")
        bottom.set_xlabel("position in the window")
        _finish((top, bottom), losses[arms[0]].columns.to_numpy(dtype=np.float64))
        legend_below(figure, [styles[name] for name in arms])
    return figure


def _draw_differences(axes: Axes, differences: pd.DataFrame, style: ArmStyle, with_band: bool) -> None:
    pairs = differences.dropna(how="all")
    if pairs.empty:
        return
    axes.plot(pairs.columns, pairs.mean(), color=style.colour, linestyle=style.dashes, zorder=3)
    if with_band:
        low, high = np.transpose([shown_interval(pairs[place].dropna()) for place in pairs.columns])
        axes.fill_between(pairs.columns, low, high, color=style.colour, alpha=0.15, linewidth=0, zorder=2)


def _finish(panels: tuple[Axes, Axes], places: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    for axes in panels:
        position_axis(axes, float(places.min()), float(places.max()))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
        axes.yaxis.grid(True)
        sns.despine(ax=axes)


def position_axis(axes: Axes, first: float, last: float) -> None:
    """Give a horizontal axis of ranges of positions, which double in width, its scale and ticks."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(LogLocator(base=4, numticks=8))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
