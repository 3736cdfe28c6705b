"""How much decoders use what their encoders planned: the loss that another plan adds, by position and by reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.attention_distance import DISTANCE_CAPTION, attention_by_distance, distance_height
from reports.figures.positions import position_axis
from reports.figures.probe_arms import Drawing, Styles, Tables, arm_panels, arms_in, parts_of
from reports.figures.style import (
    INK,
    LINE_HEIGHT,
    ROUND_STEPS,
    ArmStyle,
    applied,
    legend_below,
    numbered_style,
)
from reports.plan_use_table import in_words
from reports.statistics import shown_interval

READER = "cross_attention"
FEW_POSITIONS = 5
"""So many have markers: of a task, each may be a token of the answer."""
PANEL_HEIGHT = 1.5
ROW_HEIGHT = 0.23


def plan_use_drawings(tables: Tables, styles: Styles) -> Iterator[Drawing]:
    """Yield the figures of the probe `plan_use`."""
    positions, increase, attention = (tables[name] for name in ("positions", "increase", "attention"))
    every = arms_in(increase, styles)
    for end, of, arms in parts_of(every, PANEL_HEIGHT):
        name, title = f"probe_plan_use_positions{end}", f"Use of the plan by position{of}"
        yield name, title, POSITIONS_CAPTION, increase_by_position(positions, styles, arms)
    for end, of, arms in parts_of(every, readers_height(readers_in(increase))):
        name, title = f"probe_plan_use_readers{end}", f"Use of the plan by layer{of}"
        yield name, title, READERS_CAPTION, increase_by_reader(increase, styles, arms)
    for end, of, arms in parts_of(every, distance_height(attention, every)):
        name, title = f"probe_attention_distance{end}", f"Attention by distance{of}"
        yield name, title, DISTANCE_CAPTION, attention_by_distance(attention, styles, arms)


def increase_by_position(positions: pd.DataFrame, styles: Styles, arms: Sequence[str]) -> Figure | None:
    """Draw the loss that another encoder output adds for all cross-attention, one panel an arm, one line each.

    Lines are means over seeds, bands their 95 % t intervals, from three seeds on. None where no arm was asked.
    """
    own = positions[(positions["read_by"] == READER) & positions["arm"].isin(arms)]
    if own.empty:
        return None
    # Ranges stand at their geometric middle, counted from 1; where single positions were told apart, they are it.
    places = np.sqrt((own["first_position"] + 1.0) * (own["last_position"] + 1.0))
    own = own.assign(place=places)
    single = bool((own["first_position"] == own["last_position"]).all())
    lines = replacement_styles(positions)
    with applied():
        figure, panels = arm_panels(styles, arms, PANEL_HEIGHT, "position in the window")
        for axes, arm in zip(panels, arms, strict=True):
            axes.axhline(0, color=INK, linewidth=0.9, zorder=1)
            for name, style in lines.items():
                _draw_line(axes, own[(own["arm"] == arm) & (own["replaced_by"] == name)], style)
            _finish_positions(axes, own["place"], single=single)
        for axes in panels[::2]:
            axes.set_ylabel("loss added\n(nats per token)")
        legend_below(figure, list(lines.values()), title="read in place of the encoder output")
    return figure


def increase_by_reader(increase: pd.DataFrame, styles: Styles, arms: Sequence[str]) -> Figure | None:
    """Draw the loss that another encoder output adds by who reads it, one panel an arm, one row a reader.

    Dots are means over seeds, lines their 95 % t intervals, from three seeds on. None where no arm was asked.
    """
    own = increase[increase["arm"].isin(arms)]
    if own.empty:
        return None
    marks = replacement_styles(increase)
    # Arms of unequal depth share their rows: those that an arm lacks stay empty.
    readers = readers_in(own)
    with applied():
        figure, panels = arm_panels(styles, arms, readers_height(readers), "loss added (nats per token)")
        for axes, arm in zip(panels, arms, strict=True):
            axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
            for shift, (name, style) in zip(np.linspace(-0.24, 0.24, len(marks)), marks.items(), strict=True):
                _draw_dots(axes, own[(own["arm"] == arm) & (own["replaced_by"] == name)], readers, shift, style)
            axes.set_ylim(len(readers) - 0.5, -0.5)
            axes.set_yticks(range(len(readers)), [in_words(reader) for reader in readers])
            axes.tick_params(axis="y", length=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
            axes.xaxis.grid(True)
            axes.set_axisbelow(True)
            sns.despine(ax=axes, left=True)
        legend_below(figure, list(marks.values()), title="read in place of the encoder output", markers=True)
    return figure


def readers_in(increase: pd.DataFrame) -> list[str]:
    """Return who reads the encoder output: all cross-attention, layers in their order, the bridge, everything."""
    return sorted(dict.fromkeys(increase["read_by"]), key=_depth)


def readers_height(readers: Sequence[str]) -> float:
    """Return the inches that a panel with these rows takes."""
    return ROW_HEIGHT * len(readers) + 2 * LINE_HEIGHT


def replacement_styles(frame: pd.DataFrame) -> dict[str, ArmStyle]:
    """Return how each replacement is drawn."""
    names = list(dict.fromkeys(frame["replaced_by"]))
    return {name: numbered_style(place, in_words(name)) for place, name in enumerate(names)}


def _depth(reader: str) -> int:
    number = reader.rpartition(" ")[2]
    return int(number) if number.isdecimal() else {"cross_attention": 0, "bridge": 10**6}.get(reader, 10**6 + 1)


def _draw_line(axes: Axes, rows: pd.DataFrame, style: ArmStyle) -> None:
    if rows.empty:
        return
    by_seed = rows.pivot_table(index="seed", columns="place", values="increase")
    low, high = np.transpose([shown_interval(by_seed[place].dropna()) for place in by_seed.columns])
    marker = style.marker if len(by_seed.columns) <= FEW_POSITIONS else ""
    axes.plot(
        by_seed.columns, by_seed.mean(), color=style.colour, linestyle=style.dashes, marker=marker, markersize=3.5,
        zorder=3,
    )  # fmt: skip
    axes.fill_between(by_seed.columns, low, high, color=style.colour, alpha=0.15, linewidth=0, zorder=2)


def _finish_positions(axes: Axes, places: pd.Series[float], *, single: bool) -> None:
    if single:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        position_axis(axes, float(places.min()), float(places.max()))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.yaxis.grid(True)
    sns.despine(ax=axes)


def _draw_dots(axes: Axes, rows: pd.DataFrame, readers: Sequence[str], shift: float, style: ArmStyle) -> None:
    for reader, of_reader in rows.groupby("read_by", sort=False):
        place = readers.index(str(reader)) + shift
        low, high = shown_interval(of_reader["increase"])
        if np.isfinite(low):
            axes.plot([low, high], [place, place], color=style.colour, linewidth=1.2, zorder=2)
        mean = float(of_reader["increase"].mean())
        axes.plot([mean], [place], style.marker, color=style.colour, markersize=3.5, zorder=3)


POSITIONS_CAPTION = (
    "Loss added, by position (counted from 1, in ranges that double in width where there are many), when all "
    "cross-attention reads something else than its own encoder output: shuffled, what a position sees in a random "
    "order; averaged, the mean over training sequences; other document, another sequence's. Lines are means over "
    "seeds, bands their 95 % t intervals (from three seeds on)."
)
READERS_CAPTION = (
    "Loss added, over all positions, by who reads something else than the encoder output: all cross-attention, that of "
    "single decoder layers, the bridge to the decoder's input, or all of these. Dots are means over seeds, lines their "
    "95 % t intervals (from three seeds on)."
)
