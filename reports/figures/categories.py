"""Sweeps over names: validation loss for each objective, or each place where it attaches, beside the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports.figures.curves import band
from reports.figures.rows import ROW, finish_rows, row_heights, row_places
from reports.figures.style import (
    COLUMN_WIDTH,
    INK,
    ArmStyle,
    arm_styles,
    drawn,
    legend_below,
    new_figure,
    numbered_style,
    plain,
    wrapped,
)
from reports.figures.sweeps import Sweep, categories, category_sweeps, sweep_labels
from reports.frames import identity, results
from reports.references import arms_by_task
from reports.wording import setting_text

NAME_WIDTH = 20
OFFSET = 0.09
"""Inches between the arms of one category."""


@drawn
def category_sweep(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, key: str) -> Figure | None:
    """Draw one row a value of the factor `key`: mean validation loss and its 95 % t interval over seeds.

    Values stand in the order written, layers by depth. One colour is one combination of the other factors; where there
    is one only, a thin line joins the runs of each seed. The reference is a vertical band. None unless two values of
    the factor have finished trials in arms that agree in everything else.
    """
    found = [(sweep, points) for sweep in category_sweeps(study, key) if len(points := _points(trials, sweep)) > 1]
    if not found:
        return None
    names = [wrapped(plain(setting_text(value)), NAME_WIDTH, 3) for value in categories(study, key)]
    rows = row_heights(names, max(ROW, OFFSET * len(found) + 0.1))
    figure = new_figure(COLUMN_WIDTH, sum(rows) + 0.5)
    axes = figure.subplots()
    places = row_places(rows)
    by_value = {identity(value): place for value, place in zip(categories(study, key), places, strict=True)}
    labels = sweep_labels([sweep for sweep, _ in found])
    styles = [replace(numbered_style(position, label), dashes="-") for position, label in enumerate(labels)]
    for position, (_, points) in enumerate(found):
        offset = OFFSET * (position - (len(found) - 1) / 2)
        _draw(axes, [(by_value[value] + offset, losses) for value, losses in points], styles[position], len(found) == 1)
    named_styles = [] if len(found) == 1 and not found[0][0].settings else styles
    _draw_reference(axes, study, trials, named_styles)
    finish_rows(axes, names, places, sum(rows), "validation loss (nats per token)")
    return figure


def _points(trials: pd.DataFrame, sweep: Sweep) -> list[tuple[str, pd.Series[float]]]:
    """Return (identity of a value, losses by seed) of the arms that have any."""
    pairs = [(identity(value), results(trials, arm)) for value, arm in sweep.points]
    return [(value, losses) for value, losses in pairs if len(losses)]


def _draw(axes: Axes, points: Sequence[tuple[float, pd.Series[float]]], style: ArmStyle, seeds: bool) -> None:
    if seeds:
        for (place, losses), (next_place, next_losses) in pairwise(points):
            both = losses.index.intersection(next_losses.index)
            for seed in both:
                axes.plot([losses[seed], next_losses[seed]], [place, next_place], color=style.colour, linewidth=0.5,
                          alpha=0.45, zorder=1)  # fmt: skip
    for place, losses in points:
        low, high = band(losses)
        axes.plot([low, high], [place, place], color=style.colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
        axes.plot([losses.mean()], [place], style.marker, color=style.colour, markersize=4, zorder=4)


def _draw_reference(axes: Axes, study: StoredStudy, trials: pd.DataFrame, styles: Sequence[ArmStyle]) -> None:
    """Draw the reference, and name the lines."""
    losses = results(trials, study.reference)
    ends = list(styles)
    if len(losses) and len(arms_by_task(study)) == 1:  # else it is of another task than some of the rows
        reference = arm_styles(study)[study.reference]
        axes.axvspan(*band(losses), color=INK, alpha=0.1, linewidth=0, zorder=0)
        axes.axvline(float(losses.mean()), color=INK, linewidth=1.1, linestyle=reference.dashes, zorder=2)
        ends.append(replace(reference, marker=""))
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    if ends:
        legend_below(figure, ends, markers=True)
