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
    COLUMN_WIDTH,
    INK,
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
from reports.wording import setting_text

NAME_WIDTH = 22
TICK_WIDTH = 12


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
            axes.annotate(
                plain(effect.factor), (0, place - row / 2), (0, 1), xycoords=("axes fraction", "data"), ha="left",
                textcoords="offset points", va="bottom", color=style.colour,
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
    width = COLUMN_WIDTH if columns == 1 else TEXT_WIDTH
    figure = new_figure(width, rows * 2.5)
    every = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, ((first, second), table) in zip(every, panels, strict=False):
        _draw_interaction(axes, study, first, second, table)
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    for axes in every[::columns]:
        axes.set_ylabel("validation loss (nats per token)")
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
        style = numbered_style(position, plain(setting_text(other)))
        shift = (position - (len(others) - 1) / 2) * 0.06
        cells = [(identity(value), identity(other)) for value in values]
        axes.errorbar(
            np.arange(len(values)) + shift, [losses[cell].mean() for cell in cells],
            yerr=[reaches[cell] for cell in cells], color=style.colour, linestyle=style.dashes, linewidth=1.2,
            elinewidth=0.8, marker=style.marker, markersize=3.5, label=wrapped(style.label, NAME_WIDTH, 2),
        )  # fmt: skip
    axes.set_xticks(range(len(values)), [wrapped(plain(setting_text(value)), TICK_WIDTH, 3) for value in values])
    axes.set_xlabel(plain(first))
    axes.set_xlim(-0.4, len(values) - 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.yaxis.grid(True)
    sns.despine(ax=axes)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.34), frameon=False, title=plain(second), alignment="left",
        borderaxespad=0, labelspacing=0.25, handlelength=2.2,
    )  # fmt: skip


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
