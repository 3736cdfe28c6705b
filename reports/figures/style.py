"""How every figure looks: size, fonts, colours; one colour an arm in all figures of a study.

Figures are drawn with matplotlib's object-oriented interface, so nothing is left open and no global state changes.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, cast

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablations.stored import StoredStudy
from reports.frames import complete_curves, complete_trials
from reports.wording import elided

COLUMN_WIDTH = 3.3
"""Inches: one column of a two-column paper."""
TEXT_WIDTH = 6.75
"""Inches: both columns."""
FONT_SIZE = 7.0
LINE_HEIGHT = 0.135
CHARACTER_WIDTH = 0.062
"""Inches that one line of text, and one character of it, takes."""
LEGEND_LINE = 0.5
"""Inches that the line before a legend's text takes."""

INK = "#24292f"
MUTED = "#6b7280"
GRID = "#e5e7eb"
PAPER = "#ffffff"
"""The page replaces these four by its own in dark mode, so nothing else may use them for a meaning."""

ARM_COLOURS = [sns.color_palette("colorblind").as_hex()[position] for position in (0, 1, 2, 3, 4, 9, 5)]
"""Seaborn's colour-blind palette without the colours too pale for a thin line, and without grey."""
DASHES: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2))]
MOST_ARMS_WITH_SEEDS = len(ARM_COLOURS) + 1
"""With more arms than this, seed lines and interval bands cover each other: only means are drawn."""
ROUND_STEPS = [1, 2, 2.5, 5, 10]
"""Distances of ticks that people count in."""
MARKERS = ["o", "s", "D", "^", "v", "P", "X"]

MOST_DIRECT_LABELS = 5
DIRECT_LABEL_WIDTH = 16
LEGEND_LABEL_WIDTH = 52
BREAKS = re.compile(r"[_/:,=+(\[{]|[.-](?!\d)")
"""Signs behind which a word that is too long for a line is broken; numbers stay whole."""

Parameters = ParamSpec("Parameters")
Drawing = Callable[Concatenate[StoredStudy, pd.DataFrame, pd.DataFrame, Parameters], Figure | None]


@dataclass(frozen=True)
class ArmStyle:
    """Colour, dashes and marker of one arm, and its name as it fits into a figure."""

    colour: str
    dashes: Any
    marker: str
    label: str


def drawn(function: Drawing[Parameters]) -> Drawing[Parameters]:
    """Make a figure of a function over (study, trials, curves): frames are completed, and the style applies."""

    @functools.wraps(function)
    def draw(
        study: StoredStudy,
        trials: pd.DataFrame,
        curves: pd.DataFrame,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Figure | None:
        with applied():
            return function(study, complete_trials(study, trials), complete_curves(study, curves), *args, **kwargs)

    return cast("Drawing[Parameters]", draw)


@contextmanager
def applied() -> Iterator[None]:
    """Apply the style while figures are drawn or saved; afterwards everything is as before."""
    settings: Any = {  # matplotlib types every key on its own
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper", rc={"lines.linewidth": 1.4}),
        **{f"{name}.labelsize": FONT_SIZE for name in ("axes", "xtick", "ytick")},
        **{f"{name}.color": MUTED for name in ("xtick", "ytick")},
        **{f"{name}.labelcolor": INK for name in ("xtick", "ytick")},
        **{f"{name}.major.size": 2.5 for name in ("xtick", "ytick")},
        **{f"{name}.major.width": 0.6 for name in ("xtick", "ytick")},
        **{f"{name}.minor.size": 0.0 for name in ("xtick", "ytick")},
        "font.size": FONT_SIZE,
        "axes.titlesize": FONT_SIZE,
        "legend.fontsize": FONT_SIZE,
        "legend.title_fontsize": FONT_SIZE,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.6,
        "axes.facecolor": "none",
        "axes.unicode_minus": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "figure.facecolor": PAPER,
        "svg.hashsalt": "deepsight",
        "svg.fonttype": "path",
        "savefig.dpi": 300,
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches, that lays itself out; it is not known to pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0.04, wspace=0.04)  # type: ignore[union-attr,call-arg]
    return figure


def arm_styles(study: StoredStudy) -> dict[str, ArmStyle]:
    """Return how each arm of a study is drawn, everywhere; the reference in ink, the others in colours, then dashes."""
    names = [arm.name for arm in study.arms]
    labels = dict(zip(names, distinct_labels(names), strict=True))
    styles = {study.reference: ArmStyle(INK, (0, (3, 1)), "o", labels.get(study.reference, study.reference))}
    others = [name for name in names if name != study.reference]
    for position, name in enumerate(others):
        styles[name] = numbered_style(position, labels[name])
    return {name: styles[name] for name in names}


def numbered_style(position: int, label: str) -> ArmStyle:
    """Return the style of one line of several that are no single arms: colours first, then dashes and markers."""
    cycle, place = divmod(position, len(ARM_COLOURS))
    return ArmStyle(ARM_COLOURS[place], DASHES[cycle % len(DASHES)], MARKERS[cycle % len(MARKERS)], label)


def distinct_labels(names: Sequence[str], longest: int = LEGEND_LABEL_WIDTH) -> list[str]:
    """Return names short enough for a figure; two that were cut to the same text are told apart by a number."""
    short = [elided(name, longest) for name in names]
    return [
        plain(text if short.count(text) == 1 else f"{text} ({short[: position + 1].count(text)})")
        for position, text in enumerate(short)
    ]


def plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: a dollar sign starts no formula, nothing is unprintable."""
    return "".join(letter if letter.isprintable() else "�" for letter in text).replace("$", r"\$")


def wrapped(label: str, width: int, lines: int = 3) -> str:
    """Return a label over at most so many lines; words too long for a line are broken, the rest is elided."""
    found = [""]
    for piece in (piece for word in label.split() for piece in _pieces(word, width)):
        if found[-1] and len(found[-1]) + len(piece.rstrip()) > width:
            found.append("")
        found[-1] += piece
    found = [line.rstrip() for line in found]
    if len(found) > lines:
        found = [*found[: lines - 1], f"{_cut(found[lines - 1], width - 1)[0].rstrip()}…"]
    return "\n".join(found)


def _pieces(word: str, width: int) -> Iterator[str]:
    """Yield what a line can hold of a word, its last piece with a space: broken behind a sign if there is one."""
    while len(word) > width:
        signs = [match.end() for match in BREAKS.finditer(word, width // 3, width)]
        piece, word = _cut(word, signs[-1] if signs else width)
        yield piece
    yield f"{word} "


def _cut(text: str, place: int) -> tuple[str, str]:
    r"""Return the parts of a text before and behind a place; ``\$`` stays whole, or the sign starts a formula."""
    if text[:place].endswith("\\"):
        place -= 1
    return text[:place], text[place:]


def label_lines(axes: Axes, ends: Sequence[tuple[float, ArmStyle]]) -> None:
    """Write each line's name at the right of the axes, at the height where the line ends, moved apart where they meet.

    Args:
        axes: with its limits already set.
        ends: (y in data coordinates, style) of each line.

    """
    texts = [wrapped(style.label, DIRECT_LABEL_WIDTH) for _, style in ends]
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    height = axes.get_window_extent().height / figure.dpi  # inches
    # A label's place is the inches of its middle above the axes' bottom; a line may end outside the limits.
    to_fraction = axes.transData + axes.transAxes.inverted()
    first = axes.get_xlim()[0]
    wanted = [min(max(float(to_fraction.transform((first, y))[1]), 0.0), 1.0) * height for y, _ in ends]
    sizes = [LINE_HEIGHT * (text.count("\n") + 1) for text in texts]
    for (_, style), text, place, original in zip(
        ends, texts, moved_apart(wanted, sizes, 0.0, height), wanted, strict=True
    ):
        axes.annotate(
            text,
            xy=(1.0, original / height),
            xycoords="axes fraction",
            xytext=(1.06, place / height),
            textcoords="axes fraction",
            va="center",
            ha="left",
            linespacing=1.05,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": style.colour, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def moved_apart(
    wanted: Sequence[float], sizes: Sequence[float], low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Return places as near as can be to those wanted, in the same order, so that nothing of these sizes overlaps.

    Neighbours that would overlap are merged into a block that stands at its members' mean (the pool-adjacent-violators
    idea of isotonic regression), between `low` and `high` if it is not larger than that.
    """

    def inside(middle: float, size: float) -> float:
        return max(min(middle, high - size / 2), low + size / 2)

    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[tuple[float, float, list[int]]] = []  # middle, size, members from bottom to top
    for index in order:
        block = (inside(wanted[index], sizes[index]), sizes[index], [index])
        while blocks and blocks[-1][0] + blocks[-1][1] / 2 > block[0] - block[1] / 2:
            _, size, members = blocks.pop()
            members, size = members + block[2], size + block[1]
            block = (inside(sum(wanted[member] for member in members) / len(members), size), size, members)
        blocks.append(block)
    places = [0.0] * len(wanted)
    for middle, size, members in blocks:
        bottom = middle - size / 2
        for index in members:
            places[index] = bottom + sizes[index] / 2
            bottom += sizes[index]
    return places


def legend_below(
    figure: Figure, styles: Sequence[ArmStyle], *, title: str | None = None, markers: bool = False
) -> None:
    """Put a legend under the axes, one line an arm (with its marker where asked), and make the figure taller for it."""
    handles = [
        Line2D(
            [],
            [],
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.4,
            marker=style.marker if markers else "",
            markersize=4,
            label=wrapped(style.label, LEGEND_LABEL_WIDTH, 2),
        )
        for style in styles
    ]
    width, height = figure.get_size_inches()
    longest = max(len(line) for handle in handles for line in str(handle.get_label()).splitlines())
    columns = max(1, min(len(styles) // 2, int(width / (LEGEND_LINE + CHARACTER_WIDTH * longest))))
    rows = -(-len(styles) // columns) + sum("\n" in str(handle.get_label()) for handle in handles) + bool(title)
    figure.set_size_inches(width, height + rows * LINE_HEIGHT + 0.1)
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        handlelength=2.6,
        labelspacing=0.25,
        columnspacing=1.2,
        borderaxespad=0.2,
        title=title,
        alignment="left",
    )


def name_lines(axes: Axes, ends: Sequence[tuple[float, ArmStyle]]) -> None:
    """Name the lines of a figure's only axes: directly where they are few and their names short, else in a legend."""
    texts = [wrapped(style.label, DIRECT_LABEL_WIDTH, 9) for _, style in ends]
    if len(ends) <= MOST_DIRECT_LABELS and all(text.count("\n") < 2 for text in texts):
        label_lines(axes, ends)
    else:
        figure = axes.get_figure(root=True)
        assert figure is not None
        legend_below(figure, [style for _, style in ends])
