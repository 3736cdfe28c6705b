"""How far ahead an objective found that it should look, beside the distance over which its task is determined."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from ablations.stored import StoredArm, StoredStudy
from reports.figures.horizons import number_axis
from reports.figures.style import (
    COLUMN_WIDTH,
    MUTED,
    TEXT_WIDTH,
    ArmStyle,
    distinct_labels,
    drawn,
    legend_below,
    new_figure,
    numbered_style,
)
from reports.figures.sweeps import is_number, short
from reports.figures.task_lines import UNGROUPED
from reports.figures.task_points import Along
from reports.figures.tasks import CHANCE_DASHES
from reports.frames import diagnostic_columns
from reports.task_results import last_evaluations

DELAY = "data.task.delay"
LEARNED = {"horizon": "learned horizon (tokens)", "distance": "learned distance (tokens)"}
"""What aggregators with a trained distribution over 1 … n report the mean of, ``…_expected_<name>``: its axis."""
OFFSET = 0.05
"""Inches between the dots of two kinds of arms at one delay."""


@drawn
def learned_against_true_horizon(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw the mean of a learned distribution of horizons or distances at the end of training over the task's delay.

    A dot is a trial, a colour a group or a combination of the other factors; on the dashed line, the learned one is the
    true one. None without finished trials at two delays that report such a mean.
    """
    dots = _dots(study, trials, curves)
    if dots["delay"].nunique() < 2:
        return None
    kinds = [kind for kind in LEARNED if kind in set(dots["kind"])]
    names = list(dict.fromkeys(dots["name"]))
    styles = {name: numbered_style(place, label) for place, (name, label) in enumerate(_labels(names).items())}
    figure = new_figure(COLUMN_WIDTH if len(kinds) == 1 else TEXT_WIDTH, 2.1)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        _draw(axes, dots[dots["kind"] == kind], styles)
        axes.set_ylabel(LEARNED[kind])
    shown = list(styles.values()) if len(styles) > 1 else []
    keys = [ArmStyle(style.colour, "", style.marker, style.label) for style in shown]
    legend_below(figure, [*keys, ArmStyle(MUTED, CHANCE_DASHES, "", "equal to the delay")], markers=True)
    return figure


def _dots(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trial and metric: `delay`, `learned`, `kind` and the `name` of what has one colour."""
    lasts = last_evaluations(trials, curves)
    delays = {arm.name: delay for arm in study.arms if (delay := _delay(arm)) is not None and not arm.control}
    names = {arm.name: _name(study, arm) for arm in study.arms}
    found = []
    for column in diagnostic_columns(curves):
        kind = column.rpartition("_expected_")[2]
        if kind in LEARNED and kind != column:
            rows = lasts[lasts["arm"].isin(list(delays))].dropna(subset=[column])
            arms = rows["arm"]
            found.append(
                pd.DataFrame(
                    {"delay": arms.map(delays), "learned": rows[column], "kind": kind, "name": arms.map(names)}
                )
            )
    return pd.concat(found) if found else pd.DataFrame(columns=["delay", "learned", "kind", "name"])


def _delay(arm: StoredArm) -> float | None:
    """Return the delay of an arm's task; None where it has none, or is told of none."""
    task = (arm.config.get("data") or {}).get("task")
    delay = arm.settings.get(DELAY, task.get("delay") if isinstance(task, Mapping) else None)
    return float(delay) if is_number(delay) else None


def _name(study: StoredStudy, arm: StoredArm) -> str:
    others = {key: arm.settings[key] for key in study.factors if key in arm.settings and key != DELAY}
    return ", ".join(part for part in (arm.group or "", short(others)) if part) or UNGROUPED


def _labels(names: list[str]) -> dict[str, str]:
    return dict(zip(names, distinct_labels(names), strict=True))


def _draw(axes: Axes, dots: pd.DataFrame, styles: Mapping[str, ArmStyle]) -> None:
    delays = sorted(set(dots["delay"].astype(float)))
    number_axis(axes, delays)
    along = Along(axes, upright=True)
    for place, (name, style) in enumerate(styles.items()):
        own = dots[dots["name"] == name]
        along.plot(
            own["delay"].tolist(), own["learned"].tolist(), OFFSET * (place - (len(styles) - 1) / 2),
            color=style.colour, linestyle="", marker=style.marker, markersize=3.5, markeredgewidth=0, alpha=0.75,
        )  # fmt: skip
    ends = [delays[0], delays[-1]]
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, linestyle=CHANCE_DASHES, zorder=1)
    if axes.get_xscale() == "log":
        axes.set_yscale("log", base=2)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 4, 5, 10]))
    axes.set_xlabel("delay of the task (tokens)")
    axes.yaxis.grid(True)
    sns.despine(ax=axes)
