"""What an objective reported of itself during training: loss, gains, variances, effective ranks, anything it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatterSciNotation, LogLocator, MaxNLocator, NullFormatter

from ablations.stored import StoredStudy
from reports.figures.curves import mean_rows
from reports.figures.style import (
    ARM_COLOURS,
    COLUMN_WIDTH,
    INK,
    MOST_ARMS_WITH_SEEDS,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    arm_styles,
    drawn,
    legend_below,
    new_figure,
    plain,
)
from reports.frames import diagnostic_columns

SIDES = {"prediction": "-", "target": (0, (2, 1.2))}
FIRST = ("loss", "gain", "variance", "effective rank")
TITLES = {"gain": "mean |gain| of the norms", "loss": "loss of the objective"}
LOG_RATIO = 20.0
"""A quantity that spans more than this ratio is drawn on a logarithmic axis."""
MOST_STACKED = 5


def reporting_objectives(curves: pd.DataFrame) -> list[str]:
    """Return the objectives that left at least one number in the curves, in alphabetical order."""
    filled = [column for column in diagnostic_columns(curves) if curves[column].notna().any()]
    return sorted({column.split("/", 1)[0] for column in filled})


@drawn
def objective_diagnostics(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, objective: str | None = None
) -> Figure | None:
    """Draw one panel a quantity against training tokens; prediction and target share a panel, solid and dotted.

    Thin lines are trials, bold ones the mean of an arm (geometric where the axis is logarithmic, as it is where a
    quantity falls over decades). `objective` is the first one by default; None where nothing was reported.
    """
    names = reporting_objectives(curves)
    objective = objective or (names[0] if names else None)
    if objective is None or objective not in names:
        return None
    styles = arm_styles(study)
    present = [arm for arm in styles if _reports(curves, arm, objective)]
    # Dashes tell the two sides apart while colours are enough for the arms; beyond that each side has its own panel.
    panels = _panels(curves, objective, together=len(present) <= len(ARM_COLOURS))
    columns = 1 if len(panels) <= MOST_STACKED else 2
    rows = -(-len(panels) // columns)
    figure = new_figure(COLUMN_WIDTH if columns == 1 else TEXT_WIDTH, 1.15 * rows + 0.35)
    grid = list(figure.subplots(rows, columns, sharex=True, squeeze=False).ravel())
    if len(grid) > len(panels):
        grid.pop(1).set_visible(False)  # beside the loss, so that the two sides of a quantity share a row
    for axes, (title, parts) in zip(grid, panels.items(), strict=True):
        _draw_panel(axes, trials, curves, present, styles, parts)
        axes.set_title(plain(title), loc="left", pad=3)
    for axes in grid[-columns:]:
        axes.set_xlabel("training tokens")
    _key(figure, [styles[arm] for arm in present], panels)
    return figure


def _panels(curves: pd.DataFrame, objective: str, *, together: bool) -> dict[str, dict[str, str]]:
    """Return title → side → column; "" is the side of a quantity that has none, or that stands alone."""
    panels: dict[tuple[tuple[Any, ...], str], dict[str, str]] = {}
    for column in diagnostic_columns(curves):
        name, metric = column.split("/", 1)
        if name != objective or not curves[column].notna().any():
            continue
        side, _, rest = metric.partition("_")
        quantity = (rest if side in SIDES and rest else metric).replace("_", " ")
        place = (FIRST.index(quantity) if quantity in FIRST else len(FIRST), quantity)
        title = TITLES.get(quantity, quantity)
        if side not in SIDES or not rest:
            panels.setdefault((place, title), {})[""] = column
        elif together:
            panels.setdefault((place, title), {})[side] = column
        else:
            panels[(*place, side), f"{title}, {side}"] = {"": column}
    return {title: panels[place, title] for place, title in sorted(panels)}


def _reports(curves: pd.DataFrame, arm: str, objective: str) -> bool:
    columns = [column for column in diagnostic_columns(curves) if column.split("/", 1)[0] == objective]
    return bool(curves.loc[curves["arm"] == arm, columns].notna().to_numpy().any())


def _draw_panel(
    axes: Axes,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    arms: Sequence[str],
    styles: dict[str, ArmStyle],
    parts: dict[str, str],
) -> None:
    logarithmic = _falls_over_decades(curves[list(parts.values())].to_numpy(dtype=float))
    for arm in arms:
        rows = curves[curves["arm"] == arm]
        for side, column in parts.items():
            # A logarithmic axis has no place for zero, and a mean of logarithms even less.
            values = rows[rows[column] > 0] if logarithmic else rows.dropna(subset=[column])
            if len(arms) <= MOST_ARMS_WITH_SEEDS:
                _draw_trials(axes, values, column, styles[arm], side)
            _draw_mean(axes, trials[trials["arm"] == arm], values, column, styles[arm], side, logarithmic)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NARROW NO-BREAK SPACE}"))
    axes.margins(x=0)
    axes.yaxis.grid(True)
    sns.despine(ax=axes)


def _draw_trials(axes: Axes, rows: pd.DataFrame, column: str, style: ArmStyle, side: str) -> None:
    if rows["trial"].nunique() > 1:
        for _, trial in rows.groupby("trial", sort=False):
            axes.plot(trial["tokens"], trial[column], color=style.colour, linewidth=0.4, alpha=0.4,
                      linestyle=_dashes(style, side))  # fmt: skip


def _draw_mean(
    axes: Axes, trials: pd.DataFrame, rows: pd.DataFrame, column: str, style: ArmStyle, side: str, logarithmic: bool
) -> None:
    means = mean_rows(trials, rows, column).groupby("tokens")[column]
    line = np.exp(means.agg(lambda values: np.log(values).mean())) if logarithmic else means.mean()
    axes.plot(line.index, line.to_numpy(), color=style.colour, linewidth=1.4, linestyle=_dashes(style, side), zorder=3)


def _dashes(style: ArmStyle, side: str) -> Any:
    return SIDES[side] if side else style.dashes


def _falls_over_decades(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> bool:
    """Return whether positive values span so much that a linear axis would show only the largest."""
    numbers = values[np.isfinite(values)]
    positive = numbers[numbers > 0]
    if positive.size < 2 or (numbers < 0).any():
        return False
    return bool(positive.max() / positive.min() > LOG_RATIO)


def _key(figure: Figure, styles: Sequence[ArmStyle], panels: dict[str, dict[str, str]]) -> None:
    sided = any(side for parts in panels.values() for side in parts)
    solid = [ArmStyle(style.colour, "-" if sided else style.dashes, style.marker, style.label) for style in styles]
    sides = [ArmStyle(INK, dashes, "", side) for side, dashes in SIDES.items()] if sided else []
    legend_below(figure, [*solid, *sides])
