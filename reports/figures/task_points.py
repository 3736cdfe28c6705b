"""Accuracies along one factor, as marks in axes: numbers run from left to right, names stand as rows below each other.

Both ways say the same: a dot a trial, a mark at the mean, a line along the means, chance dashed, the reference a band.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from reports.figures.style import INK, MUTED, PAPER, ArmStyle
from reports.figures.tasks import CHANCE_DASHES, CHANCE_WIDTH
from reports.statistics import shown_interval
from reports.success import Success

Points = Sequence[tuple[float, Success]]
"""Where a value stands along its axis, and what its arm reached."""


@dataclass(frozen=True)
class Along:
    """Axes that accuracies are drawn in: upward over numbers, or from left to right in rows."""

    axes: Axes
    upright: bool

    def plot(self, places: Sequence[float], accuracies: Sequence[float], shift: float = 0.0, **look: Any) -> None:
        """Plot accuracies over places, moved by so many inches along the places, whatever their scale is."""
        figure = self.axes.get_figure(root=True)
        assert figure is not None
        moved = ScaledTranslation(*((shift, 0.0) if self.upright else (0.0, -shift)), figure.dpi_scale_trans)
        pair = (places, accuracies) if self.upright else (accuracies, places)
        self.axes.plot(*pair, transform=self.axes.transData + moved, **look)

    def line(self, accuracy: float, **look: Any) -> None:
        """Draw a line at one accuracy through all places."""
        (self.axes.axhline if self.upright else self.axes.axvline)(accuracy, **look)

    def band(self, interval: tuple[float, float], **look: Any) -> None:
        """Draw a band between two accuracies through all places."""
        (self.axes.axhspan if self.upright else self.axes.axvspan)(*interval, **look)


def interval_of(success: Success) -> tuple[float, float]:
    """Return the 95 % t interval of a mean accuracy, cut at 0 and 1; NaN below three seeds."""
    low, high = shown_interval(success.accuracies)
    return max(low, 0.0), min(high, 1.0)


def draw_points(along: Along, points: Points, style: ArmStyle, shift: float, *, intervals: bool) -> None:
    """Draw one line: its trials, its means, and their intervals where these are asked for and known."""
    for place, success in points:
        if intervals and math.isfinite(interval_of(success)[0]):
            along.plot([place] * 2, interval_of(success), shift, color=style.colour, linewidth=2.2, alpha=0.25,
                       solid_capstyle="butt", zorder=2)  # fmt: skip
        along.plot([place] * success.count, list(success.accuracies), shift, color=style.colour, linestyle="",
                   marker="o", markersize=3, markeredgewidth=0, alpha=0.7, zorder=3)  # fmt: skip
    along.plot(
        [place for place, _ in points], [success.mean for _, success in points], shift, color=style.colour,
        linestyle=style.dashes, linewidth=1.2, marker=style.marker, markersize=4.5, markeredgecolor=PAPER,
        markeredgewidth=0.6, zorder=4,
    )  # fmt: skip


def draw_chance(along: Along, lines: Mapping[str, Points], styles: Mapping[str, ArmStyle]) -> bool:
    """Draw what guessing gets, dashed, and say whether it is known.

    Grey where all lines agree on it at every place; otherwise each line's own, in its colour.
    """
    # Means over seeds: equal chances of two arms may differ in their last digit.
    chances = {
        name: {place: round(success.chance, 9) for place, success in points if math.isfinite(success.chance)}
        for name, points in lines.items()
    }
    together: dict[float, set[float]] = {}
    for one in chances.values():
        for place, chance in one.items():
            together.setdefault(place, set()).add(chance)
    look: Any = {"linewidth": CHANCE_WIDTH, "linestyle": CHANCE_DASHES, "zorder": 1}
    if len(values := set().union(*together.values())) == 1:
        along.line(values.pop(), color=MUTED, **look)
    elif all(len(found) == 1 for found in together.values()):
        places = sorted(together)
        along.plot(places, [next(iter(together[place])) for place in places], color=MUTED, **look)
    else:
        for name, one in chances.items():
            along.plot(sorted(one), [one[place] for place in sorted(one)], color=styles[name].colour, **look)
    return bool(together)


def draw_reference(along: Along, success: Success, style: ArmStyle) -> None:
    """Draw the reference as a band, its mean as a line."""
    interval = interval_of(success)
    if math.isfinite(interval[0]):
        along.band(interval, color=INK, alpha=0.1, linewidth=0, zorder=0)
    along.line(success.mean, color=INK, linewidth=1.1, linestyle=style.dashes, zorder=2)
