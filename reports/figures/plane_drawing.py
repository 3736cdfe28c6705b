"""Heat maps over two numbers that a study sweeps: the panels of its planes, whatever their cells hold."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, Stroke

from reports.figures.style import (
    CHARACTER_WIDTH,
    COLUMN_WIDTH,
    INK,
    LINE_HEIGHT,
    PAPER,
    TEXT_WIDTH,
    new_figure,
    plain,
    wrapped,
)
from reports.figures.sweeps import key_title
from reports.figures.task_maps import Plane
from reports.wording import elided

MOST_PLANES = 6
MOST_ACROSS = 3
MOST_STACKED = 2
"""Panels one below the other in the width of one column; more stand side by side."""
CELL_HEIGHT = 2.3 * LINE_HEIGHT
CELL_WIDTH = 0.34
"""Inches, at least: a cell has two lines of text."""
BAR_WIDTH = 0.62
"""Inches that the colour bar takes with its ticks and its label."""
HEADING = 0.5
"""Inches that a panel takes beside its cells: its title, the names of its columns, and what they are."""
ROW_NAME_WIDTH = 12
GREY = "#cfd3d8"
"""What no map of colours has, and no colour of the page."""
DARK, LIGHT = "#262626", "#fefefe"
"""Texts on cells: the page turns ink and pure white into colours of its own."""
LIGHT_BELOW = 0.22
"""Luminance of a colour that has light text on it: dark and light text have the same contrast there."""
OUTLINE: Any = {
    "edgecolor": DARK, "linewidth": 1.1, "zorder": 3,
    "path_effects": [Stroke(linewidth=2.8, foreground=LIGHT), Normal()],
}  # fmt: skip
"""Dark within light: seen on every colour."""


@dataclass(frozen=True)
class Scale:
    """What the colours of a heat map are.

    Attributes:
        label: of the colour bar, which is cut in two at its last space where the bar is short.
        highest: the number at the end of the bar that begins at 0.
        colours: matplotlib's name of the map.
        grey: what grey cells are.

    """

    label: str
    highest: float
    colours: str
    grey: str

    def colour(self, value: float) -> str:
        """Return the colour of a number on the bar."""
        return to_hex(mpl.colormaps[self.colours](value / self.highest))


@dataclass(frozen=True)
class Cell:
    """What one arm's cell says; no `colour` makes it grey."""

    text: str
    colour: str | None

    @property
    def ground(self) -> str:
        """The colour behind the text."""
        return self.colour or GREY

    @property
    def ink(self) -> str:
        """Of the text, which can be read on its ground."""
        red, green, blue = (part**2.2 for part in to_rgb(self.ground))
        return LIGHT if 0.2126 * red + 0.7152 * green + 0.0722 * blue < LIGHT_BELOW else DARK


def shown_planes(planes: Sequence[Plane], cells: Mapping[str, Cell]) -> list[Plane]:
    """Return the planes that have a cell to show, as many as a figure takes."""
    return [plane for plane in planes if cells.keys() & set(plane.cells.values())][:MOST_PLANES]


def draw_planes(planes: Sequence[Plane], columns: str, cells: Mapping[str, Cell], scale: Scale) -> Figure:
    """Draw a panel a plane, all in one scale; cells in which an objective looks as far as the task have an outline.

    Args:
        planes: at least one, at most `MOST_PLANES`.
        columns: the key whose values the columns are.
        cells: arm → its cell; arms without one have a dot.
        scale: of their colours.

    """
    width, across = _layout(planes)
    lines = [planes[start : start + across] for start in range(0, len(planes), across)]
    heights = [max(_height(plane) for plane in line) for line in lines]
    figure = new_figure(width, sum(heights) + HEADING * len(lines))
    grid = figure.add_gridspec(len(lines), across, height_ratios=heights)
    panels = []
    for position, plane in enumerate(planes):
        axes = figure.add_subplot(grid[divmod(position, across)])
        _draw_plane(axes, plane, cells)
        beside = position % across > 0 and plane.rows == planes[position - 1].rows
        _name_axes(axes, plane, columns if position + across >= len(planes) else None, beside=beside)
        axes.set_title(plain(elided(plane.title, int((width - BAR_WIDTH) / across / CHARACTER_WIDTH) - 3)), loc="left")
        panels.append(axes)
    _draw_bar(figure, panels, sum(heights), scale)
    _draw_key(figure, planes, cells, scale)
    return figure


def _layout(planes: Sequence[Plane]) -> tuple[float, int]:
    """Return the width of the figure, inches, and how many panels stand side by side."""
    names = max(len(line) for plane in planes for row in _row_names(plane) for line in row.split("\n"))
    panel = CELL_WIDTH * max(len(plane.columns) for plane in planes) + CHARACTER_WIDTH * names + 0.3
    across = min(int((COLUMN_WIDTH - BAR_WIDTH) / panel), len(planes))
    if across and len(planes) <= MOST_STACKED * across:
        return COLUMN_WIDTH, across
    across = max(min(int((TEXT_WIDTH - BAR_WIDTH) / panel), len(planes), MOST_ACROSS), 1)
    return TEXT_WIDTH, min(across, -(-len(planes) // -(-len(planes) // across)))


def _height(plane: Plane) -> float:
    """Return the inches that the cells of a plane take."""
    return len(plane.rows) * max(CELL_HEIGHT, *(LINE_HEIGHT * (name.count("\n") + 1.5) for name in _row_names(plane)))


def _row_names(plane: Plane) -> list[str]:
    return [wrapped(plain(name), ROW_NAME_WIDTH) for name in plane.rows]


def _draw_plane(axes: Axes, plane: Plane, cells: Mapping[str, Cell]) -> None:
    """Draw the cells of a plane; those without a finished trial have a dot."""
    axes.set_xlim(0, len(plane.columns))
    axes.set_ylim(len(plane.rows), 0)
    for row, column in itertools.product(range(len(plane.rows)), range(len(plane.columns))):
        cell = cells.get(plane.cells.get((row, column), ""))
        if cell is None:
            _write(axes, row, column, "·", INK)
            continue
        axes.add_patch(Rectangle((column, row), 1, 1, facecolor=cell.ground, edgecolor=PAPER, linewidth=1.0))
        _write(axes, row, column, cell.text, cell.ink)
    for row, column in plane.equal:
        if plane.cells[row, column] in cells:
            axes.add_patch(Rectangle((column + 0.05, row + 0.05), 0.9, 0.9, fill=False, **OUTLINE))
    sns.despine(ax=axes, left=True, bottom=True)


def _write(axes: Axes, row: int, column: int, text: str, colour: str) -> None:
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, linespacing=1.1)


def _name_axes(axes: Axes, plane: Plane, columns: str | None, *, beside: bool) -> None:
    """Name rows and columns, and what they are: that of the columns where it is given, rows not `beside` the same."""
    axes.tick_params(length=0)
    axes.set_xticks([column + 0.5 for column in range(len(plane.columns))], plane.columns)
    axes.set_yticks([row + 0.5 for row in range(len(plane.rows))], [] if beside else _row_names(plane))
    if columns is not None:
        axes.set_xlabel(plain(key_title(columns)))
    if plane.row_key is not None and not beside:
        height = len(plane.rows) * CELL_HEIGHT
        axes.set_ylabel(wrapped(plain(key_title(plane.row_key)), max(int(height / CHARACTER_WIDTH), 8), 2))


def _draw_bar(figure: Figure, panels: Sequence[Axes], height: float, scale: Scale) -> None:
    label = scale.label if height > CHARACTER_WIDTH * len(scale.label) else "\n".join(scale.label.rsplit(" ", 1))
    colours = ScalarMappable(Normalize(0, scale.highest), scale.colours)
    bar = figure.colorbar(colours, ax=panels, label=label, aspect=12 * max(height, 1), pad=0.02, fraction=0.1)
    parts = 2 if height < 1 else 4
    bar.set_ticks([scale.highest * part / parts for part in range(parts + 1)])
    bar.outline.set_visible(False)


def _draw_key(figure: Figure, planes: Sequence[Plane], cells: Mapping[str, Cell], scale: Scale) -> None:
    """Say below the panels what grey and an outline are, where there is any."""
    shown = {name for plane in planes for name in plane.cells.values()}
    handles = []
    if any(cells[name].colour is None for name in shown & cells.keys()):
        handles.append(Patch(facecolor=GREY, label=scale.grey))
    if any(plane.equal for plane in planes):
        handles.append(Patch(fill=False, edgecolor=INK, linewidth=1.2, label="horizon as far as the task's delay"))
    if handles:
        width, height = figure.get_size_inches()
        columns = len(handles) if width == TEXT_WIDTH else 1
        figure.set_size_inches(width, height + LINE_HEIGHT * len(handles) / columns + 0.1)
        figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, handlelength=1.2,
                      labelspacing=0.3, columnspacing=1.5, borderaxespad=0.2)  # fmt: skip
