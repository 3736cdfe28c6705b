"""Heat maps of what probes found: places of the network as rows, whatever else as columns, blue for more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from reports import numbers
from reports.figures.style import CHARACTER_WIDTH, FONT_SIZE, LINE_HEIGHT

BAR_WIDTH = 0.75
"""Inches that the colour bar takes with its ticks and its label."""
CELL_HEIGHT = 1.3 * LINE_HEIGHT


def draw_heat(axes: Axes, table: pd.DataFrame, reach: float, columns: Sequence[str], width: float) -> QuadMesh:
    """Draw a table, coloured from −`reach` to `reach`, with its numbers where they fit; return what was coloured.

    Args:
        axes: where.
        table: places × columns; NaN where nothing was found.
        reach: the largest number in either direction.
        columns: the names of the columns.
        width: of the cells together, inches.

    """
    decimals = 2 if reach >= 0.095 else 3
    labels = table.map(lambda value: numbers.fixed(value, decimals, sign=True) if np.isfinite(value) else "")
    longest = max(len(text) for text in labels.to_numpy().ravel())
    fits = longest * CHARACTER_WIDTH < width / len(columns)
    sns.heatmap(
        table, ax=axes, cmap="vlag_r", vmin=-reach, vmax=reach, linewidths=0.8, linecolor="none", cbar=False,
        annot=labels if fits else None, fmt="", annot_kws={"fontsize": FONT_SIZE}, xticklabels=list(columns),
        yticklabels=[str(place) for place in table.index],
    )  # fmt: skip
    for text in axes.texts:  # almost white: the page turns pure white into its own ground
        if text.get_color() == "w":
            text.set_color("#fefefe")
    axes.set_ylabel("")
    axes.set_xlabel("")
    axes.tick_params(length=0, rotation=0)
    mesh = axes.collections[0]
    assert isinstance(mesh, QuadMesh)
    return mesh


def colour_bar(figure: Figure, mesh: QuadMesh, panels: Sequence[Axes], label: str) -> Colorbar:
    """Put one colour bar beside all panels and return it."""
    bar = figure.colorbar(mesh, ax=list(panels), label=label, aspect=18, pad=0.02, fraction=0.06)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return bar


def reach_of(tables: Sequence[pd.DataFrame]) -> float:
    """Return the largest number of some tables in either direction."""
    found = [float(np.nanmax(np.abs(table.to_numpy()))) for table in tables if table.notna().to_numpy().any()]
    return max(found, default=0.0) or 1e-3
