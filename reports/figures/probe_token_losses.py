"""Where the loss lies: by what the last few tokens tell of the next one, and by how frequent a token is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import numbers
from reports.figures.probe_arms import Drawing, Styles, Tables, arms_in
from reports.figures.style import (
    INK,
    MUTED,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    applied,
    legend_below,
    new_figure,
)
from reports.statistics import shown_interval
from reports.token_losses_table import NONE

KINDS = {"inferable": "inferable from", "frequency": "times in the training split"}
"""Table → what its classes are."""
SPREAD = 0.6
"""Of the room of a class, what the arms in it take."""


def token_losses_drawings(tables: Tables, styles: Styles) -> Iterator[Drawing]:
    """Yield the figure of the probe `token_losses`."""
    yield "probe_token_losses", "Loss by class of token", CLASSES_CAPTION, loss_by_class(tables, styles)


def loss_by_class(tables: Mapping[str, pd.DataFrame], styles: Styles) -> Figure | None:
    """Draw the loss of each arm by class of token, beside the n-gram's, and below it the difference to the reference.

    Dots are means over seeds, lines their 95 % t intervals, from three seeds on; differences are taken seed by seed.
    None where no arm was asked.
    """
    arms = arms_in(tables["inferable"], styles)
    if not arms:
        return None
    reference = next((arm for arm in arms if styles[arm].colour == INK), arms[0])
    rows = 1 if len(arms) == 1 else 2
    with applied():
        figure = new_figure(TEXT_WIDTH, 1.2 + 1.0 * rows)
        panels = figure.subplots(rows, len(KINDS), squeeze=False, sharex="col", sharey="row")
        for column, (kind, title) in zip(panels.T, KINDS.items(), strict=True):
            classes = classes_of(kind, tables[kind])
            losses = {arm: _by_seed(tables[kind][tables[kind]["arm"] == arm], classes) for arm in arms}
            _draw_ngram(column[0], tables[kind], classes)
            for place, arm in enumerate(arms):
                shift = SPREAD * ((place + 0.5) / len(arms) - 0.5)
                _draw_dots(column[0], losses[arm], shift, styles[arm])
                if arm != reference:
                    _draw_dots(column[-1], losses[arm] - losses[reference], shift, styles[arm])
            _finish(column, list(classes.values()), title)
        panels[0, 0].set_ylabel("validation loss\n(nats per token)")
        if rows > 1:
            panels[1, 0].set_ylabel("difference\n(nats per token)")
        ngram = ArmStyle(MUTED, "-", "", "n-gram")
        legend_below(figure, [*(styles[arm] for arm in arms), ngram], markers=True)
    return figure


def classes_of(kind: str, table: pd.DataFrame) -> dict[object, str]:
    """Return the classes that have tokens, by what tells them apart, each with its name and its share of tokens."""
    key = _key(kind)
    shares = table[table["tokens"] > 0].groupby(key, sort=kind == "frequency")["share"].mean()
    return {name: f"{_named(kind, name)}\n{numbers.fixed(100 * share, 0)} %" for name, share in shares.items()}


def _key(kind: str) -> str:
    return "least_count" if kind == "frequency" else "inferable_from"


def _named(kind: str, name: object) -> str:
    if kind == "frequency":
        least = int(str(name))
        return "never" if least == 0 else f"{numbers.quantity(least)}+"
    return {NONE: "none", "unigram": "nothing"}.get(str(name), str(name))


def _by_seed(rows: pd.DataFrame, classes: Mapping[object, str]) -> pd.DataFrame:
    """Return the losses of one arm, seeds × classes."""
    key = "least_count" if "least_count" in rows else "inferable_from"
    known = rows.assign(loss=pd.to_numeric(rows["loss"]))
    return known.pivot_table(index="seed", columns=key, values="loss").reindex(columns=list(classes))


def _draw_ngram(axes: Axes, table: pd.DataFrame, classes: Mapping[object, str]) -> None:
    key = "least_count" if "least_count" in table else "inferable_from"
    means = table.assign(loss=pd.to_numeric(table["ngram_loss"])).groupby(key)["loss"].mean().reindex(list(classes))
    for place, loss in enumerate(means):
        axes.hlines(loss, place - 0.42, place + 0.42, color=MUTED, linewidth=1.2, zorder=1)


def _draw_dots(axes: Axes, by_seed: pd.DataFrame, shift: float, style: ArmStyle) -> None:
    for place, name in enumerate(by_seed.columns):
        losses = by_seed[name].dropna()
        if losses.empty:
            continue
        low, high = shown_interval(losses)
        if np.isfinite(low):
            axes.plot([place + shift] * 2, [low, high], color=style.colour, linewidth=1.2, zorder=2)
        axes.plot([place + shift], [losses.mean()], style.marker, color=style.colour, markersize=3.5, zorder=3)


def _finish(column: np.ndarray[tuple[int], np.dtype[np.object_]], names: list[str], title: str) -> None:
    for axes in column:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
        axes.yaxis.grid(True)
        axes.set_axisbelow(True)
        sns.despine(ax=axes)
    if len(column) > 1:
        column[-1].axhline(0, color=INK, linewidth=0.9, zorder=1)
    column[-1].set_xticks(range(len(names)), names)
    column[-1].set_xlabel(f"{title} (share of tokens)")


CLASSES_CAPTION = (
    "Validation loss by class of token: by the fewest last tokens whose most frequent continuation in training it is "
    "(nothing: it is the most frequent token; none: no number of them tells it), and by how often it stands in the "
    "training split. Grey lines are the n-gram model's. Dots are means over seeds, lines their 95 % t intervals (from "
    "three seeds on); below, the difference to the reference, seed by seed."
)
