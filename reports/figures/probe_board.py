"""What states know of the board of a game: beside the controls, over moves ahead, and cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from seaborn import color_palette

from reports.figures.layer_maps import colour_bar
from reports.figures.probe_arms import Drawing, Styles, Tables, arms_in
from reports.figures.probe_future import arms_of_parts
from reports.figures.probe_maps import means_by_place, place_maps
from reports.figures.style import (
    GRID,
    LINE_HEIGHT,
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
"""Of those that were asked, the places whose accuracies are drawn: every architecture has them."""
CONTROLS = {
    "majority": (0, (1, 1.2)),
    "ply": (0, (4, 1.5)),
    "untrained": (0, (5, 1.2, 1, 1.2)),
    "unchanged": (0, (2, 2)),
    "present": "-",
}
CONTROL_NAMES = {
    "majority": "no state: what a cell holds most often",
    "ply": "no state: the same, after as many moves",
    "untrained": "the same probe on the network before training",
    "unchanged": "the true board now, as it is",
    "present": "the same probe on the true board now",
}
MOST_BOARDS = 4
"""Arms, and moves ahead, whose boards are drawn in one figure."""
BOARD = 1.35
"""Inches that a board takes in height."""
GAIN_CAPTION = (
    "How much more often than by the best control a linear probe, trained on single states at each place, says what a "
    "cell holds after so many further moves: nothing, a piece of who is to move, or one of the other side. Controls: "
    "what the cell holds most often, the same after as many moves, and the probe on the network before training. "
    "Measured on games that the probes have not seen; means over seeds; blue is more than any of these."
)
ACCURACY_CAPTION = (
    "The share of cells that a linear probe gets right against the moves ahead, with 95 % t intervals over seeds (from "
    "three on), beside controls (grey, means over runs). The two that are told the true present board know what no "
    "probe of states is told: only above them does a state know of moves to come."
)
CELLS_CAPTION = (
    "The share of test positions at which a linear probe is right of each cell, at the place where it is right most "
    "often of the present board; means over seeds. Hatched cells hold the same almost always, and are left out of all "
    "other numbers."
)


def board_drawings(tables: Tables, styles: Styles) -> Iterator[Drawing]:
    """Yield the figures of the probe `board`."""
    states = tables["states"]
    title = "What linear probes read of the board"
    for number, arms in enumerate(parts := arms_of_parts(states, styles), start=1):
        end, of = (f"_{number}", f", part {number} of {len(parts)}") if len(parts) > 1 else ("", "")
        yield f"probe_board_gain{end}", f"{title}{of}", GAIN_CAPTION, board_gains(states, styles, arms)
    accuracy = board_accuracies(states, tables["controls"], styles)
    yield "probe_board_accuracy", "Boards read, and controls", ACCURACY_CAPTION, accuracy
    every = arms_in(states, styles)
    groups = [every[start : start + MOST_BOARDS] for start in range(0, len(every), MOST_BOARDS)]
    for number, arms in enumerate(groups, start=1):
        end, of = (f"_{number}", f", part {number} of {len(groups)}") if len(groups) > 1 else ("", "")
        yield f"probe_board_cells{end}", f"Boards read, cell by cell{of}", CELLS_CAPTION, boards(tables, styles, arms)


def board_gains(states: pd.DataFrame, styles: Styles, arms: Sequence[str]) -> Figure | None:
    """Draw what is read above the best control that sees no board, one panel an arm, places × moves ahead."""
    tables = {arm: means_by_place(states[states["arm"] == arm], "ahead", "gain") for arm in arms}
    return place_maps(tables, styles, "moves ahead", "accuracy above the best control")


def board_accuracies(states: pd.DataFrame, controls: pd.DataFrame, styles: Styles) -> Figure | None:
    """Draw accuracy against the moves ahead, one panel a place, beside the controls."""
    asked = list(dict.fromkeys(states["place"]))
    places = [place for place in PLACES if place in asked] or asked[:2]
    arms = arms_in(states[states["place"].isin(places)], styles)
    if not arms:
        return None
    with applied():
        figure = new_figure(TEXT_WIDTH, 2.2)
        panels = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
        for axes, place in zip(panels, places, strict=True):
            _draw_controls(axes, controls[controls["place"].isna() | (controls["place"] == place)])
            for arm in arms:
                own = states[(states["arm"] == arm) & (states["place"] == place)]
                _draw_accuracies(axes, own, styles[arm])
            axes.set_title(place, loc="left", pad=3)
            axes.set_xlabel("moves ahead")
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
            axes.yaxis.grid(True)
            sns.despine(ax=axes)
        panels[0].set_ylabel("cells that are right")
        known = [name for name in CONTROLS if (controls["control"] == name).any()]
        beside = [ArmStyle(MUTED, CONTROLS[name], "", CONTROL_NAMES[name]) for name in known]
        legend_below(figure, [*(styles[arm] for arm in arms), *beside], markers=True)
    return figure


def boards(tables: Tables, styles: Styles, arms: Sequence[str]) -> Figure | None:
    """Draw the accuracy of each cell, one row an arm, one board a number of moves ahead."""
    cells = tables["cells"]
    shown = {arm: best_place(tables["states"], arm) for arm in arms if (cells["arm"] == arm).any()}
    if not shown:
        return None
    offsets = spread(sorted(set(cells["ahead"])), MOST_BOARDS)
    with applied():
        figure = new_figure(TEXT_WIDTH, len(shown) * (BOARD + 1.5 * LINE_HEIGHT) + 0.6)
        grid = figure.subplots(len(shown), len(offsets), squeeze=False)
        for row, (arm, place) in enumerate(shown.items()):
            own = cells[(cells["arm"] == arm) & (cells["place"] == place)]
            for axes, ahead in zip(grid[row], offsets, strict=True):
                image = _draw_board(axes, own[own["ahead"] == ahead])
                if row == len(shown) - 1:
                    axes.set_xlabel("now" if ahead == 0 else f"{ahead} ahead")
            grid[row, 0].set_title(f"{styles[arm].label}, {place}", loc="left", pad=3)
        colour_bar(figure, image, grid.ravel(), "positions at which the cell is right")
    return figure


def best_place(states: pd.DataFrame, arm: str) -> str:
    """Return the place at which an arm's present board is read best, over its seeds."""
    own = states[(states["arm"] == arm) & (states["ahead"] == states["ahead"].min())]
    return str(own.groupby("place", sort=False)["accuracy"].mean().idxmax())


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """Return at most so many of some numbers, the first and the last among them."""
    places = np.linspace(0, len(numbers) - 1, min(most, len(numbers)))
    return [numbers[round(place)] for place in places]


def _draw_accuracies(axes: Axes, rows: pd.DataFrame, style: ArmStyle) -> None:
    if rows.empty:
        return
    found = rows.pivot_table(index="seed", columns="ahead", values="accuracy")
    low, high = np.transpose([shown_interval(found[ahead].dropna()) for ahead in found.columns])
    axes.plot(found.columns, found.mean(), style.marker, color=style.colour, linestyle=style.dashes, markersize=4)
    axes.vlines(found.columns, low, high, color=style.colour, linewidth=1.2)


def _draw_controls(axes: Axes, controls: pd.DataFrame) -> None:
    for name, dashes in CONTROLS.items():
        means = controls[controls["control"] == name].groupby("ahead")["accuracy"].mean()
        axes.plot(means.index, means, color=MUTED, linestyle=dashes, linewidth=1.0, zorder=1)


def _draw_board(axes: Axes, rows: pd.DataFrame) -> AxesImage:
    means = rows.pivot_table(index="row", columns="column", values="accuracy")
    image = axes.imshow(means.to_numpy(), cmap=color_palette("viridis", as_cmap=True), vmin=0, vmax=1)
    for row, column in np.argwhere(~rows.pivot_table(index="row", columns="column", values="counted").to_numpy(bool)):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, hatch="////", fill=False, edgecolor=GRID, linewidth=0)
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image
