"""The layer-split heat map: what it does to put layers into the encoder or into the decoder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison, compare
from reports.figures.style import COLUMN_WIDTH, INK, TEXT_WIDTH, drawn, new_figure, plain, wrapped
from reports.figures.sweeps import LAYERS, Sweep, find_key, short, sweeps
from reports.statistics import Verdict

MOST_COLUMNS = 4
"""More splits than this need the width of both columns of a paper."""
ROW_NAME_WIDTH = 20
CLAIMS = {Verdict.BETTER: "better", Verdict.WORSE: "worse", Verdict.EQUIVALENT: "equivalent"}


@drawn
def layer_splits(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw the mean difference to the reference for every split of the layers.

    Encoder against decoder layers where nothing else varies; otherwise one column a split and one row a combination of
    the other factors. A cell with a verdict is marked. None unless two splits occur in arms that agree in all else.
    """
    key = find_key(study, trials, LAYERS)
    found = sweeps(study, trials, key, _is_split) if key else []
    comparisons = compare(study, trials)
    if not any(_mean(study, comparisons, arm) is not None for sweep in found for _, arm in sweep.points):
        return None
    table, labels = _square(study, comparisons, found[0]) if len(found) == 1 else _listed(study, comparisons, found)
    names = [str(name) for name in table.index]
    lines = sum(max(2, name.count("\n") + 1) for name in names)
    figure = new_figure(COLUMN_WIDTH if len(table.columns) <= MOST_COLUMNS else TEXT_WIDTH, 0.15 * lines + 0.75)
    _draw(figure.subplots(), table, labels)
    return figure


def _square(study: StoredStudy, comparisons: dict[str, Comparison], sweep: Sweep) -> tuple[pd.DataFrame, pd.DataFrame]:
    cells = {(split[0], split[1]): arm for split, arm in sweep.points}
    rows, columns = sorted({row for row, _ in cells}, reverse=True), sorted({column for _, column in cells})
    table = pd.DataFrame(index=pd.Index(rows, name="encoder layers"), columns=pd.Index(columns, name="decoder layers"))
    return _filled(study, comparisons, table, cells)


def _listed(
    study: StoredStudy, comparisons: dict[str, Comparison], found: list[Sweep]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [_name(sweep) for sweep in found]
    cells = {
        (name, f"{split[0]} + {split[1]}"): arm
        for name, sweep in zip(names, found, strict=True)
        for split, arm in sweep.points
    }
    splits = sorted({(split[0], split[1]) for sweep in found for split, _ in sweep.points})
    table = pd.DataFrame(
        index=pd.Index(names, name=""),
        columns=pd.Index([f"{encoder} + {decoder}" for encoder, decoder in splits], name="encoder + decoder layers"),
    )
    return _filled(study, comparisons, table, cells)


def _name(sweep: Sweep) -> str:
    """Return the other factors' values, broken between factors."""
    return ",\n".join(wrapped(plain(short({key: value})), ROW_NAME_WIDTH, 2) for key, value in sweep.settings.items())


def _filled(
    study: StoredStudy, comparisons: dict[str, Comparison], table: pd.DataFrame, cells: dict[tuple[Any, Any], str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    values, labels = table.astype(float), table.astype(object)
    widths = [c.high - c.low for c in comparisons.values() if math.isfinite(c.high - c.low)]
    decimals = min(numbers.decimals_for(float(np.median(widths)) / 2) if widths else 3, 4)
    for (row, column), arm in cells.items():
        mean = _mean(study, comparisons, arm)
        if mean is None:
            labels.at[row, column] = "no pair"
            continue
        values.at[row, column] = mean
        text = "reference" if arm == study.reference else numbers.fixed(mean, decimals, sign=True)
        claim = CLAIMS.get(comparisons[arm].verdict) if arm in comparisons else None
        labels.at[row, column] = f"{text}\n{claim}" if claim else text
    return values, labels.fillna("")


def _mean(study: StoredStudy, comparisons: dict[str, Comparison], arm: str) -> float | None:
    if arm == study.reference:
        return 0.0
    return comparisons[arm].mean if comparisons[arm].pairs.count else None


def _draw(axes: Axes, table: pd.DataFrame, labels: pd.DataFrame) -> None:
    reach = float(np.nanmax(np.abs(table.to_numpy()))) or 1e-3
    sns.heatmap(
        table, ax=axes, cmap="vlag", vmin=-reach, vmax=reach, linewidths=1.0, linecolor="none", annot=labels, fmt="",
        annot_kws={"fontsize": 7, "linespacing": 1.1},
        cbar_kws={"label": "difference to the reference\n(nats per token)", "aspect": 12, "pad": 0.02},
    )  # fmt: skip
    for text in axes.texts:  # almost white: the page turns pure white into its own ground
        if text.get_color() == "w":
            text.set_color("#fefefe")
    missing = np.argwhere(np.isnan(table.to_numpy()))
    for row, column in missing:
        axes.text(column + 0.5, row + 0.5, str(labels.iat[row, column]) or "·", ha="center", va="center", color=INK)
    axes.tick_params(length=0)
    axes.set_yticklabels(axes.get_yticklabels(), rotation=0)
    axes.set_xticklabels(axes.get_xticklabels(), rotation=0)
    axes.collections[0].colorbar.outline.set_visible(False)  # type: ignore[union-attr]


def _is_split(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(layers, int) for layers in value)
