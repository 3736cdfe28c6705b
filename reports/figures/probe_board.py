"""What states know of the board of a game: beside the controls, over moves ahead, and cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from seaborn import color_palette

from reports.figures.layer_maps import colour_bar
from reports.figures.probe_arms import Drawing, Styles, Tables, arms_in
from reports.figures.probe_controls import Control, beside_controls
from reports.figures.probe_future import arms_of_parts
from reports.figures.probe_maps import means_by_place, place_maps
from reports.figures.style import (
    GRID,
    LINE_HEIGHT,
    TEXT_WIDTH,
    applied,
    new_figure,
)

CONTROLS = {
    "majority": Control((0, (1, 1.2)), "no state: what a cell holds most often"),
    "ply": Control((0, (4, 1.5)), "no state: the same, after as many moves"),
    "untrained": Control((0, (5, 1.2, 1, 1.2)), "the same probe on the network before training"),
    "unchanged": Control((0, (2, 2)), "the true board now, as it is"),
    "present": Control("-", "the same probe on the true board now"),
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
    labels = ("moves ahead", "cells that are right")
    return beside_controls(states, controls, styles, CONTROLS, "accuracy", labels)


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
