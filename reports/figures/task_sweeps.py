"""Accuracy along one factor of a study: numbers from left to right, names such as the place of an objective as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from ablations.stored import StoredArm, StoredStudy
from reports.figures.horizons import LOG_RATIO, MOST_SWEEPS_WITH_INTERVALS, number_axis
from reports.figures.rows import ROW, bare_rows, row_heights, row_places
from reports.figures.style import (
    CHARACTER_WIDTH,
    COLUMN_WIDTH,
    LEGEND_LABEL_WIDTH,
    MUTED,
    TEXT_WIDTH,
    ArmStyle,
    arm_styles,
    distinct_labels,
    drawn,
    legend_below,
    new_figure,
    numbered_style,
    plain,
    wrapped,
)
from reports.figures.sweeps import key_title, short
from reports.figures.task_lines import Line, LinePanel, all_numbers, line_panels, ordered_values
from reports.figures.task_points import Along, Points, draw_chance, draw_points, draw_reference
from reports.figures.tasks import CHANCE_DASHES, percent
from reports.frames import identity
from reports.success import Success, successes
from reports.task_results import measured_tasks
from reports.wording import elided, setting_text

MOST_PANELS = 6
MOST_ACROSS = 3
PANEL = 1.45
"""Inches of height of a panel over numbers."""
HEADING = 0.45
"""Inches for a panel's title, its ticks, and what they are."""
OFFSET = 0.075
"""Inches between lines in one row; those over numbers stand half as far apart."""
NAME_WIDTH = 16


@dataclass(frozen=True)
class _Layout:
    """Where the values of a factor stand.

    Attributes:
        key: the factor.
        upright: whether it is of numbers.
        places: identity of a value → its place, inches from the top in rows.
        names: of the rows.
        height: of a panel, inches.

    """

    key: str
    upright: bool
    places: Mapping[str, float]
    names: tuple[str, ...]
    height: float


@drawn
def task_sweep(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, key: str) -> Figure | None:
    """Draw accuracy at the main task along a factor: dots are trials, lines join means, one colour a group.

    Without groups a colour is a value of the first other factor; other combinations have panels, six at most. With up
    to three lines means carry 95 % t intervals, cut at 0 and 1. Chance is dashed; the reference is a band where it does
    the same task as all that is drawn and is no part of a line. None unless a line has two values with finished trials.
    """
    tasks = measured_tasks(curves)
    found = successes(study, trials, curves, tasks[0]) if tasks else {}
    known = {name: success for name, success in found.items() if success.count}
    every = line_panels(study, key)
    panels = [panel for panel in (_finished(panel, known) for panel in every) if panel.lines][:MOST_PANELS]
    if not panels:
        return None
    shown = {line.name for panel in panels for line in panel.lines}
    names = [name for name in dict.fromkeys(line.name for panel in every for line in panel.lines) if name in shown]
    labels = distinct_labels(names, LEGEND_LABEL_WIDTH)
    styles = {name: replace(numbered_style(place, labels[place]), dashes="-") for place, name in enumerate(names)}
    layout = _layout(study, key, len(names))
    figure, places = _panels(layout, len(panels))
    reference = known[study.reference] if is_beside(study, panels) and study.reference in known else None
    reference_style = replace(arm_styles(study)[study.reference], marker="")
    told = False
    for axes, panel in zip(places, panels, strict=True):
        along = Along(axes, layout.upright)
        told |= _draw_panel(along, layout, panel, known, styles)
        if reference is not None:
            draw_reference(along, reference, reference_style)
        if len(panels) > 1:
            room = figure.get_figwidth() / _across(len(panels)) / CHARACTER_WIDTH
            axes.set_title(plain(elided(short(panel.settings), int(room) - 10)), loc="left", pad=3)
    legend = [styles[name] for name in names if name]
    legend += [reference_style] if reference is not None else []
    legend += [ArmStyle(MUTED, CHANCE_DASHES, "", "chance")] if told else []
    if legend:
        legend_below(figure, legend, markers=True)
    return figure


def is_beside(study: StoredStudy, panels: Sequence[LinePanel]) -> bool:
    """Return whether the reference does the same task as every arm that is drawn, and is none of them."""
    arms = {arm for panel in panels for line in panel.lines for _, arm in line.points}
    tasks = {identity(_data(study.arm(name))) for name in arms}
    return study.reference not in arms and tasks == {identity(_data(study.arm(study.reference)))}


def _finished(panel: LinePanel, known: Mapping[str, Success]) -> LinePanel:
    """Return a panel with the points that have finished trials, in lines of two such points or more."""
    lines = [Line(line.name, tuple(point for point in line.points if point[1] in known)) for line in panel.lines]
    return LinePanel(panel.settings, tuple(line for line in lines if len(line.points) > 1))


def _layout(study: StoredStudy, key: str, lines: int) -> _Layout:
    values = ordered_values(study, key)
    if all_numbers(study, key):
        return _Layout(key, True, {identity(value): float(value) for value in values}, (), PANEL)
    names = [wrapped(plain(setting_text(value)), NAME_WIDTH) for value in values]
    rows = row_heights(names, max(ROW, OFFSET * (lines + 1)))
    places = dict(zip(map(identity, values), row_places(rows), strict=True))
    return _Layout(key, False, places, tuple(names), sum(rows))


def _panels(layout: _Layout, count: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its panels, with all that does not depend on what is drawn."""
    across = _across(count)
    down = -(-count // across)
    figure = new_figure(COLUMN_WIDTH if count == 1 else TEXT_WIDTH, down * (layout.height + HEADING))
    every: list[Axes] = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in every[count:]:
        spare.remove()
    for place, axes in enumerate(every[:count]):
        _finish(axes, layout, first=place % across == 0, last=place + across >= count)
    return figure, every[:count]


def _across(count: int) -> int:
    """Return how many panels stand side by side: four are two by two."""
    return 2 if count == 4 else min(count, MOST_ACROSS)


def _finish(axes: Axes, layout: _Layout, *, first: bool, last: bool) -> None:
    """Set limits and ticks; the axes are named at the left and below the last panels."""
    shares = axes.yaxis if layout.upright else axes.xaxis
    shares.set_major_locator(MultipleLocator(0.25 if layout.upright else 0.5))
    shares.set_major_formatter(percent())
    if not layout.upright:
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(layout.height, 0)
        axes.set_yticks(list(layout.places.values()), layout.names if first else [])
        axes.set_xlabel("accuracy" if last else "")
        bare_rows(axes)
        return
    values = sorted(layout.places.values())
    number_axis(axes, values)
    axes.set_xlim(_margins(values))
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(plain(key_title(layout.key)) if last else "")
    axes.set_ylabel("accuracy" if first else "")
    axes.tick_params(axis="y", labelleft=first)
    axes.yaxis.grid(True)
    sns.despine(ax=axes)


def _margins(values: Sequence[float]) -> tuple[float, float]:
    """Return limits a little outside numbers, on the scale that `number_axis` gives them."""
    low, high = values[0], values[-1]
    if low > 0 and high / low > LOG_RATIO:
        return low * (low / high) ** 0.07, high * (high / low) ** 0.07
    return low - 0.07 * (high - low), high + 0.07 * (high - low)


def _draw_panel(
    along: Along,
    layout: _Layout,
    panel: LinePanel,
    known: Mapping[str, Success],
    styles: Mapping[str, ArmStyle],
) -> bool:
    """Draw the lines of a panel and what guessing gets, and say whether that is known."""
    lines: dict[str, Points] = {
        line.name: [(layout.places[identity(value)], known[arm]) for value, arm in line.points] for line in panel.lines
    }
    step = OFFSET / 2 if layout.upright else OFFSET
    for name, points in lines.items():
        # A line has its place among all of the figure, so that it stands at the same side in every panel.
        shift = step * (list(styles).index(name) - (len(styles) - 1) / 2)
        draw_points(along, points, styles[name], shift, intervals=len(styles) <= MOST_SWEEPS_WITH_INTERVALS)
    return draw_chance(along, lines, styles)


def _data(arm: StoredArm) -> object:
    """Return what an arm's data are: the resolved configuration, or what it changes in the base without one."""
    return arm.config.get("data") or {key: value for key, value in arm.settings.items() if key.startswith("data")}
