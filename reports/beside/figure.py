"""The differences of two studies in one figure: two estimates a row, on one axis."""

from __future__ import annotations

from matplotlib.figure import Figure

from reports.beside.sides import Side, shared_arms
from reports.comparisons import Comparison
from reports.figures.catalogue import NamedFigure
from reports.figures.differences import NAME_WIDTH, draw_ground
from reports.figures.rows import draw_estimate, finish_rows, row_heights, row_places
from reports.figures.style import (
    ARM_COLOURS,
    COLUMN_WIDTH,
    MARKERS,
    ArmStyle,
    applied,
    distinct_labels,
    legend_below,
    new_figure,
    plain,
    wrapped,
)

BETWEEN = 0.2
"""Inches between the two estimates of a row."""
CAPTION = (
    "The arms that both studies have by name, each against the reference of its own study: dot and line are the mean "
    "difference and its 95 % t interval for one comparison (from three pairs on), small marks are seeds."
)


def differences(a: Side, b: Side) -> NamedFigure | None:
    """Draw what both studies say of the arms that both have; None where neither has a pair of any."""
    margins = {side.study.equivalence_margin for side in (a, b)}
    margin = margins.pop() if len(margins) == 1 else 0.0
    with applied():
        figure = _drawn(a, b, margin)
    band = f" The grey band is the margin of equivalence, ±{margin:g}." if margin > 0 else ""
    caption = f"{CAPTION}{band}"
    return None if figure is None else NamedFigure("differences", "Differences in both studies", caption, figure)


def _drawn(a: Side, b: Side, margin: float) -> Figure | None:
    rows = {name: _known(a, b, name) for name in shared_arms(a, b)}
    rows = {name: known for name, known in rows.items() if known}
    if not rows:
        return None
    styles = {
        side.letter: ArmStyle(ARM_COLOURS[place], "-", MARKERS[place], f"{side.letter}: {plain(side.study.name)}")
        for place, side in enumerate((a, b))
    }
    names = [wrapped(label, NAME_WIDTH, 3) for label in distinct_labels(list(rows))]
    heights = row_heights(names, least=2 * BETWEEN + 0.05)
    figure = new_figure(COLUMN_WIDTH, sum(heights) + 0.62)
    axes = figure.subplots()
    every = [comparison for known in rows.values() for _, comparison in known]
    draw_ground(axes, margin, every)
    places = row_places(heights)
    for middle, known in zip(places, rows.values(), strict=True):
        for letter, found in known:
            place = middle + (BETWEEN / 2 if letter == b.letter else -BETWEEN / 2)
            draw_estimate(axes, place, found.mean, (found.low, found.high), found.pairs.differences, styles[letter])
    finish_rows(axes, names, places, sum(heights), "difference in validation loss (nats per token)")
    legend_below(figure, list(styles.values()), markers=True)
    return figure


def _known(a: Side, b: Side, name: str) -> list[tuple[str, Comparison]]:
    """Return the comparisons that an arm has, each with the letter of its study."""
    found = [(side.letter, side.comparisons.get(name)) for side in (a, b)]
    return [(letter, one) for letter, one in found if one is not None and one.pairs.count]
