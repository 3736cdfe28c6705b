"""What the figures of probes have in common: a panel for each arm, over as many figures as they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import CHARACTER_WIDTH, COLUMN_WIDTH, TEXT_WIDTH, ArmStyle, new_figure, wrapped

Tables = Mapping[str, pd.DataFrame]
Styles = Mapping[str, ArmStyle]
Drawing = tuple[str, str, str, Figure | None]
"""File name, title, caption, and the figure where there is something to show."""

MOST_HEIGHT = 6.5
"""Inches of the panels of one figure, where they are more than one row."""


def arms_in(frame: pd.DataFrame, styles: Styles) -> list[str]:
    """Return the arms of a frame in the order in which they are shown."""
    there = set(frame["arm"])
    return [arm for arm in styles if arm in there]


def parts_of(arms: Sequence[str], height: float) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the arms of each figure, as evenly as can be, with the endings of its file name and of its title.

    Args:
        arms: that have panels.
        height: of a panel, inches.

    """
    parts = max(1, -(-len(arms) // (2 * max(1, int(MOST_HEIGHT / height)))))
    for number, part in enumerate(np.array_split(np.array(arms, dtype=object), parts), start=1):
        name, title = (f"_{number}", f", part {number} of {parts}") if parts > 1 else ("", "")
        yield name, title, list(part)


def arm_panels(
    styles: Styles, arms: Sequence[str], height: float, label: str, *, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a titled panel for each arm, one beside another.

    Args:
        styles: of all arms.
        arms: that have panels.
        height: of one row of panels, inches.
        label: of the horizontal axis, which all panels share.
        sharey: whether they share the scale of the vertical one.

    """
    beside = min(len(arms), 2)
    rows = -(-len(arms) // beside)
    width = COLUMN_WIDTH if beside == 1 else TEXT_WIDTH
    letters = int((width / beside - 0.5) / CHARACTER_WIDTH)
    figure = new_figure(width, rows * height)
    grid = figure.subplots(rows, beside, squeeze=False, sharex=True, sharey=sharey)
    panels = list(grid.ravel())
    for axes in panels[len(arms) :]:
        axes.set_axis_off()
    for arm, axes in zip(arms, panels, strict=False):
        axes.set_title(wrapped(styles[arm].label, letters, 2), loc="left", pad=3)
    # Where a panel has none below it, it tells what all of them show.
    for axes in panels[max(0, len(arms) - beside) : len(arms)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(label)
    return figure, panels[: len(arms)]
