"""What objectives draft: tokens that a pass gives, and how many guesses are right, the first, the second, …."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.rows import draw_estimate, finish_rows, row_heights, row_places
from reports.figures.style import (
    MOST_ARMS_WITH_SEEDS,
    MUTED,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    applied,
    distinct_labels,
    new_figure,
    numbered_style,
    wrapped,
)
from reports.statistics import shown_interval

Tables = Mapping[str, pd.DataFrame]
Styles = Mapping[str, ArmStyle]
Pair = tuple[str, str]
"""Arm and objective."""

NAME_WIDTH = 24
MOST_PAIRS = 12
"""Rows of one figure; more of them take several."""
CAPTION = (
    "Speculative decoding at temperature 0, which gives the text of plain decoding: tokens that one forward pass of "
    "the network gives (1 without drafts), and the share of guesses that the network chose too, the first guess of a "
    "pass being of the token after the next. Dots are means over seeds, lines at them 95 % t intervals (from three "
    "on), small marks seeds. A guess counts as accepted where all before it in its pass are; rings are the share among "
    "those whose predecessors were right."
)


def drafting_drawings(tables: Tables, styles: Styles) -> Iterator[tuple[str, str, str, Figure | None]]:
    """Yield the figures of what the probe `drafting` found: name, title, caption, figure."""
    pairs = pairs_of(tables["drafting"], styles)
    looks = _looks(pairs, styles)
    parts = [pairs[start : start + MOST_PAIRS] for start in range(0, len(pairs), MOST_PAIRS)]
    for number, part in enumerate(parts, start=1):
        end, of = (f"_{number}", f", part {number} of {len(parts)}") if len(parts) > 1 else ("", "")
        figure = drafting(tables, {pair: looks[pair] for pair in part})
        yield f"probe_drafting{end}", f"Tokens that objectives draft{of}", CAPTION, figure


def pairs_of(rows: pd.DataFrame, styles: Styles) -> list[Pair]:
    """Return arms and their objectives that draft, in the order of the arms."""
    found = list(dict.fromkeys(zip(rows["arm"], rows["objective"], strict=True)))
    order = list(styles)
    return sorted(found, key=lambda pair: order.index(pair[0]))


def drafting(tables: Tables, looks: Mapping[Pair, ArmStyle]) -> Figure | None:
    """Draw tokens a pass, one row an arm and objective, and beside it acceptance against the guess of a pass.

    Args:
        tables: `drafting` and `guesses`.
        looks: of each arm and objective that is drawn.

    """
    if not looks:
        return None
    with applied():
        names = [wrapped(style.label, NAME_WIDTH, 3) for style in looks.values()]
        heights = row_heights(names)
        figure = new_figure(TEXT_WIDTH, max(sum(heights) + 0.5, 2.0))
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
        places = row_places(heights)
        for place, (pair, style) in zip(places, looks.items(), strict=True):
            values = _of(tables["drafting"], pair)["tokens_per_pass"].astype("float64")
            draw_estimate(left, place, float(values.mean()), _interval(values), values.to_numpy(), style)
        left.axvline(1, color=MUTED, linewidth=0.6, zorder=1)
        finish_rows(left, names, places, sum(heights), "tokens that one forward pass gives")
        _draw_guesses(right, tables["guesses"], looks)
    return figure


def _draw_guesses(axes: Axes, guesses: pd.DataFrame, looks: Mapping[Pair, ArmStyle]) -> None:
    for pair, style in looks.items() if len(guesses) else []:
        own = _of(guesses, pair)
        if own.empty:
            continue
        values = own.astype({"acceptance": "float64", "acceptance_if_reached": "float64"}).groupby("guess")
        means = values[["acceptance", "acceptance_if_reached"]].mean()
        axes.plot(means.index, means["acceptance"], style.marker, color=style.colour, linestyle=style.dashes,
                  linewidth=1.2, markersize=4, zorder=3)  # fmt: skip
        later = means["acceptance_if_reached"].iloc[1:]
        axes.plot(later.index, later, style.marker, color=style.colour, markerfacecolor="none", markersize=4, zorder=3)
        if len(looks) <= MOST_ARMS_WITH_SEEDS:
            low, high = np.transpose([_interval(of["acceptance"]) for _, of in values])
            axes.vlines(means.index, low, high, color=style.colour, linewidth=1.2, zorder=2)
    axes.set_ylim(0, 1)
    axes.set_xlabel("guess of a pass")
    axes.set_ylabel("accepted")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.yaxis.grid(True)
    sns.despine(ax=axes)


def _looks(pairs: list[Pair], styles: Styles) -> dict[Pair, ArmStyle]:
    """Return the style of each arm; where one has several objectives that draft, each has a style of its own."""
    arms = [arm for arm, _ in pairs]
    if len(set(arms)) == len(arms):
        return {pair: styles[pair[0]] for pair in pairs}
    alone = len(set(arms)) == 1
    names = [objective if alone else f"{arm}: {objective}" for arm, objective in pairs]
    labels = distinct_labels(names)
    return {pair: numbered_style(place, label) for place, (pair, label) in enumerate(zip(pairs, labels, strict=True))}


def _of(rows: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    return rows[(rows["arm"] == pair[0]) & (rows["objective"] == pair[1])]


def _interval(values: pd.Series[float]) -> tuple[float, float]:
    low, high = shown_interval(values.dropna())
    return float(low), float(high)
