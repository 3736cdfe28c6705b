"""Each objective's gradient by layer, before and after training: how much of the whole, and in which direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.figures.layer_maps import HALF, layer_places, map_height, ordered_layers, shown_layers
from reports.figures.style import (
    INK,
    MUTED,
    PAPER,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    applied,
    new_figure,
    plain,
)
from reports.wording import elided

MOST_ROWS = 4
"""Arms and objectives in one figure; more of them take several."""
LONGEST_OBJECTIVE = 36
SIDES = {"share": "share of the gradient", "cosine": "cosine with the gradient of next-token loss"}
CAPTION = (
    "Each objective's gradient g on the weights of a layer beside that of next-token loss, n, coefficients applied, on "
    "held-out batches: its share ‖g‖ / (‖g‖ + ‖n‖) and the cosine of the angle between the two, which is below zero "
    "where the two pull against each other. Rings are the network as its training began, dots the trained one, both "
    "means over seeds; small marks are the seeds of the trained one. Without a mark the objective does not reach the "
    "layer."
)


def gradient_figures(
    tables: Mapping[str, pd.DataFrame], styles: Mapping[str, ArmStyle]
) -> Iterator[tuple[str, str, str, Figure | None]]:
    """Yield the figures of what the probe `gradient_evidence` found: name, title, caption, figure."""
    rows = tables["gradients"].astype({"depth": "float64", **dict.fromkeys(SIDES, "float64")})
    pairs = list(dict.fromkeys(zip(rows["arm"], rows["objective"], strict=True)))
    parts = [pairs[start : start + MOST_ROWS] for start in range(0, len(pairs), MOST_ROWS)]
    for number, part in enumerate(parts, start=1):
        suffix, of = (f"_{number}", f", part {number} of {len(parts)}") if len(parts) > 1 else ("", "")
        yield f"probe_gradients{suffix}", f"Gradients by layer{of}", CAPTION, _drawn(rows, part, styles)


def _drawn(rows: pd.DataFrame, pairs: list[tuple[str, str]], styles: Mapping[str, ArmStyle]) -> Figure:
    own = {pair: rows[(rows["arm"] == pair[0]) & (rows["objective"] == pair[1])] for pair in pairs}
    layers = {pair: ordered_layers(part["layer"].tolist(), part["depth"].tolist()) for pair, part in own.items()}
    heights = [map_height(names) for names in layers.values()]
    with applied():
        figure = new_figure(TEXT_WIDTH, sum(heights) + 0.42 * len(pairs) + 0.3)
        grid = figure.subplots(len(pairs), len(SIDES), squeeze=False, height_ratios=heights, sharex="col")
        for row, ((arm, objective), part) in enumerate(own.items()):
            for column, side in enumerate(SIDES):
                _draw(grid[row, column], part, layers[arm, objective], side, styles[arm])
                _name_layers(grid[row, column], layers[arm, objective], named=column == 0)
            title = "" if objective in arm else f": {plain(elided(objective, LONGEST_OBJECTIVE))}"
            grid[row, 0].set_title(f"{styles[arm].label}{title}", loc="left", pad=3)
        for column, side in enumerate(SIDES):
            _finish(grid[-1, column], side, rows)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, layers: list[str], side: str, style: ArmStyle) -> None:
    places = layer_places(layers)
    before, after = (
        rows[rows["weights"] == weights].pivot_table(index="layer", columns="seed", values=side, dropna=False)
        for weights in ("untrained", "trained")
    )
    means = [table.reindex(layers).mean(axis="columns").to_numpy() for table in (before, after)]
    if side == "cosine":
        axes.axvline(0, color=MUTED, linewidth=0.6, zorder=1)
    axes.hlines(places, means[0], means[1], color=style.colour, linewidth=0.7, alpha=0.6, zorder=2)
    axes.plot(means[0], places, "o", color=PAPER, markeredgecolor=style.colour, markersize=3.6,
              markeredgewidth=0.9, zorder=3)  # fmt: skip
    if after.shape[1] > 1:
        for _, seed in after.reindex(layers).items():
            axes.plot(seed.to_numpy(), places, "|", color=style.colour, markersize=4, markeredgewidth=0.6, alpha=0.8)
    axes.plot(means[1], places, "o", color=style.colour, markersize=3.6, zorder=4)


def _name_layers(axes: Axes, layers: list[str], *, named: bool) -> None:
    shown = shown_layers(layers)
    axes.set_yticks(list(shown), list(shown.values()) if named else [""] * len(shown))
    axes.set_ylim(-0.6, layer_places(layers)[-1] + 0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(True)
    axes.set_axisbelow(True)
    sns.despine(ax=axes, left=True)


def _finish(axes: Axes, side: str, rows: pd.DataFrame) -> None:
    largest = float(rows[side].abs().max())
    reach = 1.0 if largest > HALF else HALF
    margin = 0.02 * reach
    axes.set_xlim(-margin if side == "share" else -reach - margin, reach + margin)
    axes.set_xlabel(SIDES[side], color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
