"""What an objective reported of itself during training: loss, gains, variances, effective ranks, anything it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

from ablations.stored import StoredStudy
from reports.figures.lines import draw_mean, draw_trials
from reports.figures.panels import Panel, Row, figure_rows
from reports.figures.style import (
    ARM_COLOURS,
    COLUMN_WIDTH,
    INK,
    MOST_ARMS_WITH_SEEDS,
    MUTED,
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
LEVELS = {"loss over trivial": 1.0, "gradient cosine": 0.0}
"""Where a line marks what the quantity is measured against."""
BOUNDED = ("gradient share", "gradient cosine", "mean cosine")
"""Always on a linear axis: what is near zero may be read as zero."""
LOG_RATIO = 100.0
"""A quantity that spans more than this ratio is drawn on a logarithmic axis: two powers of ten are on it to read."""


def reporting_objectives(curves: pd.DataFrame) -> list[str]:
    """Return the objectives that left at least one number in the curves, in alphabetical order."""
    filled = [column for column in diagnostic_columns(curves) if curves[column].notna().any()]
    return sorted({column.split("/", 1)[0] for column in filled})


def diagnostic_parts(study: StoredStudy, curves: pd.DataFrame, objective: str) -> int:
    """Return how many figures the diagnostics of an objective take."""
    return len(_rows(study, curves, objective))


@drawn
def objective_diagnostics(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, objective: str | None = None, part: int = 0
) -> Figure | None:
    """Draw one panel a quantity against training tokens; prediction and target share a panel, solid and dotted.

    Thin lines are trials, bold ones the mean of an arm (geometric where the axis is logarithmic, as it is where a
    quantity falls over decades). `objective` is the first one by default, `part` one of `diagnostic_parts`; None where
    nothing was reported.
    """
    names = reporting_objectives(curves)
    objective = objective or (names[0] if names else None)
    if objective is None or objective not in names:
        return None
    figures = _rows(study, curves, objective)
    if part >= len(figures):
        return None
    rows = figures[part]
    styles = arm_styles(study)
    present = _present(study, curves, objective)
    columns = max(len(row) for row in rows)
    figure = new_figure(COLUMN_WIDTH if columns == 1 else TEXT_WIDTH, 1.15 * len(rows) + 0.35)
    grid = figure.add_gridspec(len(rows), columns)
    for place, row in enumerate(rows):
        for column, panel in enumerate(row):
            axes = figure.add_subplot(grid[place, column if len(row) > 1 else slice(None)])
            _draw_panel(axes, trials, curves, present, styles, panel)
            axes.set_title(plain(panel.title), loc="left", pad=3)
            # A panel as wide as the figure has an axis of its own; the others share that of the last row.
            if place == len(rows) - 1:
                axes.set_xlabel("training tokens")
            elif len(row) == len(rows[-1]):
                axes.tick_params(axis="x", labelbottom=False)
    _key(figure, [styles[arm] for arm in present], [panel for row in rows for panel in row])
    return figure


def _rows(study: StoredStudy, curves: pd.DataFrame, objective: str) -> list[list[Row]]:
    # Dashes tell the two sides apart while colours are enough for the arms; beyond that each side has its own panel.
    return figure_rows(curves, objective, together=len(_present(study, curves, objective)) <= len(ARM_COLOURS))


def _present(study: StoredStudy, curves: pd.DataFrame, objective: str) -> list[str]:
    return [arm.name for arm in study.arms if _reports(curves, arm.name, objective)]


def _reports(curves: pd.DataFrame, arm: str, objective: str) -> bool:
    columns = [column for column in diagnostic_columns(curves) if column.split("/", 1)[0] == objective]
    return bool(curves.loc[curves["arm"] == arm, columns].notna().to_numpy().any())


def _draw_panel(
    axes: Axes,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    arms: Sequence[str],
    styles: dict[str, ArmStyle],
    panel: Panel,
) -> None:
    values = curves[list(panel.columns.values())].to_numpy(dtype=float)
    logarithmic = panel.quantity not in BOUNDED and _falls_over_decades(values)
    if panel.quantity in LEVELS:
        axes.axhline(LEVELS[panel.quantity], color=MUTED, linewidth=0.6, zorder=1)
    for arm in arms:
        rows = curves[curves["arm"] == arm]
        for side, column in panel.columns.items():
            # A logarithmic axis has no place for zero, and a mean of logarithms even less.
            shown = rows[rows[column] > 0] if logarithmic else rows.dropna(subset=[column])
            look = (styles[arm].colour, _dashes(styles[arm], side))
            if len(arms) <= MOST_ARMS_WITH_SEEDS:
                draw_trials(axes, shown, column, "tokens", *look)
            own = trials[trials["arm"] == arm]
            draw_mean(axes, own, shown, column, "tokens", *look, geometric=logarithmic)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NARROW NO-BREAK SPACE}"))
    tokens = float(curves["tokens"].max())
    axes.set_xlim(0, tokens if tokens > 0 else 1)
    axes.yaxis.grid(True)
    sns.despine(ax=axes)


def _dashes(style: ArmStyle, side: str) -> Any:
    return SIDES[side] if side else style.dashes


def _falls_over_decades(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> bool:
    """Return whether positive values span so much that a linear axis would show only the largest."""
    numbers = values[np.isfinite(values)]
    positive = numbers[numbers > 0]
    if positive.size < 2 or (numbers < 0).any():
        return False
    return bool(positive.max() / positive.min() > LOG_RATIO)


def _key(figure: Figure, styles: Sequence[ArmStyle], panels: Sequence[Panel]) -> None:
    sided = any(side for panel in panels for side in panel.columns)
    solid = [ArmStyle(style.colour, "-" if sided else style.dashes, style.marker, style.label) for style in styles]
    sides = [ArmStyle(INK, dashes, "", side) for side, dashes in SIDES.items()] if sided else []
    legend_below(figure, [*solid, *sides])
