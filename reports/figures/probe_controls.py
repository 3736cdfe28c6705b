"""What probes reach against the distance ahead, one panel a place, beside the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.probe_arms import Styles, arms_in
from reports.figures.style import (
    COLUMN_WIDTH,
    MUTED,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    applied,
    legend_below,
    new_figure,
)
from reports.statistics import shown_interval

PLACES = ("encoder", "decoder")
"""Of those that were asked, the places that are drawn: every architecture has them."""


class Control(NamedTuple):
    """How a control is drawn, and what the legend says of it."""

    dashes: Any
    words: str


def beside_controls(
    states: pd.DataFrame,
    controls: pd.DataFrame,
    styles: Styles,
    known: Mapping[str, Control],
    measure: str,
    labels: tuple[str, str],
) -> Figure | None:
    """Draw a measure against `ahead`: means over seeds with 95 % t intervals, from three on; controls over all runs.

    Args:
        states: what probes reached, with the columns arm, seed, place, ahead and the measure.
        controls: the same of controls, with their name in `control`; a `place` where they have one.
        styles: of all arms.
        known: the controls that are drawn, by name.
        measure: the column.
        labels: of the horizontal and the vertical axis.

    """
    asked = list(dict.fromkeys(states["place"]))
    places = [place for place in PLACES if place in asked] or asked[:2]
    arms = arms_in(states[states["place"].isin(places)], styles)
    if not arms:
        return None
    with applied():
        figure = new_figure(COLUMN_WIDTH if len(places) == 1 else TEXT_WIDTH, 2.2)
        panels = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        for axes, place in zip(panels, places, strict=True):
            _draw_controls(axes, controls[controls["place"].isna() | (controls["place"] == place)], known, measure)
            for arm in arms:
                own = states[(states["arm"] == arm) & (states["place"] == place)]
                _draw_arm(axes, own, measure, styles[arm])
            axes.set_title(place, loc="left", pad=3)
            axes.set_xlabel(labels[0])
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
            axes.yaxis.grid(True)
            sns.despine(ax=axes)
        panels[0].set_ylabel(labels[1])
        there = [control for name, control in known.items() if (controls["control"] == name).any()]
        beside = [ArmStyle(MUTED, control.dashes, "", control.words) for control in there]
        legend_below(figure, [*(styles[arm] for arm in arms), *beside], markers=True)
    return figure


def _draw_arm(axes: Axes, rows: pd.DataFrame, measure: str, style: ArmStyle) -> None:
    if rows.empty:
        return
    found = rows.pivot_table(index="seed", columns="ahead", values=measure)
    low, high = np.transpose([shown_interval(found[ahead].dropna()) for ahead in found.columns])
    axes.plot(found.columns, found.mean(), style.marker, color=style.colour, linestyle=style.dashes, markersize=4)
    axes.vlines(found.columns, low, high, color=style.colour, linewidth=1.2)


def _draw_controls(axes: Axes, controls: pd.DataFrame, known: Mapping[str, Control], measure: str) -> None:
    for name, control in known.items():
        means = controls[controls["control"] == name].groupby("ahead")[measure].mean()
        axes.plot(means.index, means, color=MUTED, linestyle=control.dashes, linewidth=1.0, zorder=1)
