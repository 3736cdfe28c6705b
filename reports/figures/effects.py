"""Factor effects and interactions: marginal means, and whether what one factor does depends on another."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablations.stored import StoredStudy
from reports.effects import effects, marginal_losses
from reports.figures.rows import draw_estimate, finish_rows, row_heights, row_places
from reports.figures.style import (
    CHARACTER_WIDTH,
    COLUMN_WIDTH,
    INK,
    LINE_HEIGHT,
    ROUND_STEPS,
    TEXT_WIDTH,
    drawn,
    new_figure,
    numbered_style,
    plain,
    wrapped,
)
from reports.frames import identity
from reports.statistics import EXPLORATORY_PAIRS, within_intervals
from reports.wording import elided, setting_text

NAME_WIDTH = 22
TICK_WIDTH = 16
KEY_WIDTH = 30
HEADING_WIDTH = 30
MOST_TICKS = 4
"""More values than this below one panel need the width of both columns of a paper."""
PANEL = 1.5
"""Inches: the height of a panel of interactions, without what stands below it."""


@drawn
def factor_effects(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw each factor value's mean difference to the first value of its factor, and its 95 % t interval over seeds.

    Small marks are the seeds. None unless a factor has values to compare on the average over the others.
    """
    found = effects(study, trials)
    if not found:
        return None
    factors = list(dict.fromkeys(effect.factor for effect in found))
    names = [wrapped(plain(setting_text(effect.value)), NAME_WIDTH, 3) for effect in found]
    gaps = [0.2 if effect.is_first else 0.0 for effect in found]
    heights = row_heights(names)
    down = np.cumsum(gaps)
    places = [place + gap for place, gap in zip(row_places(heights), down.tolist(), strict=True)]
    height = sum(heights) + sum(gaps)
    figure = new_figure(COLUMN_WIDTH, height + 0.5)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for place, row, effect in zip(places, heights, found, strict=True):
        style = replace(numbered_style(factors.index(effect.factor), effect.factor), marker="o")
        if effect.is_first:
            heading = plain(elided(effect.factor, HEADING_WIDTH))
            axes.annotate(
                heading, (0, place - row / 2), (0, 1), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="left", va="bottom",
            )  # fmt: skip
        seeds = np.empty(0) if effect.is_first else effect.losses - effect.first
        draw_estimate(axes, place, effect.difference, effect.difference_interval, seeds, style)
    finish_rows(axes, names, places, height, "difference to the factor's first value (nats per token)")
    return figure


@drawn
def interactions(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw the mean loss over one factor, a line for each value of a second, one panel a pair of factors.

    Lines that run parallel say that the two do not interact. Means are over the remaining factors and over seeds, with
    95 % intervals from which what seeds have in common is taken out (from three seeds on). None unless two factors have
    every pair of their values in common.
    """
    panels = [
        (pair, table)
        for pair in itertools.combinations(study.factors, 2)
        if (table := _crossed(study, trials, *pair)) is not None
    ]
    if not panels:
        return None
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    keys = [
        max(_key_lines(study.factors[second]) for (_, second), _ in panels[start : start + columns]) * LINE_HEIGHT
        for start in range(0, len(panels), columns)
    ]
    width = COLUMN_WIDTH if columns == 1 and len(study.factors[panels[0][0][0]]) <= MOST_TICKS else TEXT_WIDTH
    figure = new_figure(width, rows * (PANEL + 0.5) + sum(keys))
    # Each panel's key has a place of its own below it, so that the layout keeps both apart whatever the values are.
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[part for key in keys for part in (PANEL, key)])
    shared: Axes | None = None
    for position, ((first, second), table) in enumerate(panels):
        row, column = divmod(position, columns)
        axes = shared = figure.add_subplot(grid[2 * row, column], sharey=shared)
        _draw_interaction(axes, study, first, second, table)
        _name_values(axes, study.factors[first], (width - 0.6) / columns - 0.1)
        axes.set_xlabel(wrapped(plain(first), KEY_WIDTH))
        if column:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("validation loss\n(nats per token)")
        _draw_key(figure.add_subplot(grid[2 * row + 1, column]), axes, second)
    return figure


def _crossed(
    study: StoredStudy, trials: pd.DataFrame, first: str, second: str
) -> dict[tuple[str, str], pd.Series[Any]] | None:
    """Return (identity, identity) → losses by seed, averaged over the other factors; None where a pair is missing."""
    if len(study.factors[first]) < 2 or len(study.factors[second]) < 2:
        return None
    pairs = list(itertools.product(study.factors[first], study.factors[second]))
    wanted = [identity(list(pair)) for pair in pairs]
    table, _ = marginal_losses(study, trials, (first, second), wanted)
    if table.empty:
        return None
    return {(identity(one), identity(other)): table[name] for (one, other), name in zip(pairs, wanted, strict=True)}


def _draw_interaction(
    axes: Axes, study: StoredStudy, first: str, second: str, losses: dict[tuple[str, str], pd.Series[Any]]
) -> None:
    values, others = _ordered(study.factors[first]), _ordered(study.factors[second])
    reaches = _reaches(losses)
    for position, other in enumerate(others):
        style = numbered_style(position, _in_key(other))
        shift = (position - (len(others) - 1) / 2) * 0.06
        cells = [(identity(value), identity(other)) for value in values]
        axes.errorbar(
            np.arange(len(values)) + shift, [losses[cell].mean() for cell in cells],
            yerr=[reaches[cell] for cell in cells], color=style.colour, linestyle=style.dashes, linewidth=1.2,
            elinewidth=0.8, marker=style.marker, markersize=3.5, label=style.label,
        )  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.yaxis.grid(True)
    sns.despine(ax=axes)


def _name_values(axes: Axes, values: list[Any], width: float) -> None:
    """Name the values below a panel so many inches wide."""
    longest = int(width / len(values) / CHARACTER_WIDTH)
    names = [wrapped(plain(setting_text(value)), max(min(longest, TICK_WIDTH), 3)) for value in _ordered(values)]
    axes.set_xticks(range(len(values)), names)
    axes.set_xlim(-0.4, len(values) - 0.6)


def _draw_key(place: Axes, axes: Axes, factor: str) -> None:
    place.set_axis_off()
    place.legend(
        *axes.get_legend_handles_labels(), loc="upper left", frameon=False, title=wrapped(plain(factor), KEY_WIDTH),
        alignment="left", borderaxespad=0, borderpad=0, labelspacing=0.25, handlelength=2.2,
    )  # fmt: skip


def _key_lines(values: list[Any]) -> int:
    """Return the lines of text that the key to a factor takes, its title among them."""
    return 2 + sum(_in_key(value).count("\n") + 1 for value in values)


def _in_key(value: Any) -> str:
    return wrapped(plain(setting_text(value)), NAME_WIDTH, 2)


def _reaches(losses: dict[tuple[str, str], pd.Series[Any]]) -> dict[tuple[str, str], float]:
    """Return half of the interval of each cell's mean; zero below three seeds, where it says nothing."""
    table = np.stack([values.to_numpy() for values in losses.values()], axis=1)
    if len(table) < EXPLORATORY_PAIRS:
        return dict.fromkeys(losses, 0.0)
    low, high = within_intervals(table)
    return dict(zip(losses, ((high - low) / 2).tolist(), strict=True))


def _ordered(values: list[Any]) -> list[Any]:
    """Return numbers in ascending order, other values as written."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numeric else values
