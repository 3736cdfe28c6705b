"""How far back attention looks: the share of its weight by distance, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports.figures.probe_arms import Styles, arm_panels
from reports.figures.probe_heat import BAR_WIDTH, colour_bar
from reports.figures.style import CHARACTER_WIDTH, COLUMN_WIDTH, FONT_SIZE, LINE_HEIGHT, TEXT_WIDTH, applied

ROW_HEIGHT = 1.25 * LINE_HEIGHT
EQUAL = "equal weights"

DISTANCE_CAPTION = (
    "Share of its weight that attention gives to what lies so many positions back, in ranges that double in width "
    "(4+ is 4 to 7): layer by layer, means over heads, positions that count, and seeds. Each row sums to 100 %; the "
    "last one is what equal weights would give."
)


def attention_by_distance(attention: pd.DataFrame, styles: Styles, arms: Sequence[str]) -> Figure | None:
    """Draw the shares of attention's weight, one panel an arm, layers × distance; None where no arm was asked."""
    tables = {arm: shares_by_distance(attention[attention["arm"] == arm]) for arm in arms}
    tables = {arm: table for arm, table in tables.items() if not table.empty}
    if not tables:
        return None
    largest = max(float(table.to_numpy().max()) for table in tables.values())
    with applied():
        height = distance_height(attention, list(tables))
        figure, panels = arm_panels(styles, list(tables), height, "positions back", sharey=False)
        width = COLUMN_WIDTH - BAR_WIDTH if len(tables) == 1 else (TEXT_WIDTH - BAR_WIDTH) / 2
        for axes, table in zip(panels, tables.values(), strict=True):
            names = CHARACTER_WIDTH * max(len(str(name)) for name in table.index)
            mesh = _draw(axes, table, largest, (width - names) / len(table.columns))
        bar = colour_bar(figure, mesh, panels, "share of the weight")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0, "\N{NARROW NO-BREAK SPACE}%"))
    return figure


def distance_height(attention: pd.DataFrame, arms: Sequence[str]) -> float:
    """Return the inches that a panel of the deepest of some arms takes."""
    layers = attention[attention["arm"].isin(arms)].groupby("arm")[["attention", "stack", "layer"]]
    deepest = max((len(of_arm.drop_duplicates()) for _, of_arm in layers), default=0)
    return ROW_HEIGHT * (deepest + 1) + 3 * LINE_HEIGHT


def shares_by_distance(attention: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of one arm, means over heads and seeds, layers × ranges of distance.

    The last row is what equal weights would give, where that is the same for all layers.
    """
    heads = attention[attention["head"].isna()]
    if heads.empty:
        return pd.DataFrame()
    kinds = heads.groupby(["stack", "layer"])["attention"].nunique()
    both = heads["stack"].isin(kinds[kinds > 1].index.get_level_values("stack"))
    names = heads["stack"].astype(str) + " " + heads["layer"].astype(str)
    names = names.where(~both, names + " " + heads["attention"].astype(str))
    heads = heads.assign(name=names)
    shares, uniform = (
        heads.groupby(["name", "first_distance"], sort=False)[column]
        .mean()
        .unstack("first_distance")
        .sort_index(axis=1)
        for column in ("share", "uniform_share")
    )
    if np.allclose(uniform.to_numpy(), uniform.to_numpy()[0], equal_nan=True):
        shares.loc[EQUAL] = uniform.iloc[0]
    shares = shares.rename(columns=lambda first: f"{first}{'+' if first > 1 else ''}")
    shares.index.name = shares.columns.name = None
    return shares.fillna(0.0)


def _draw(axes: Axes, table: pd.DataFrame, largest: float, cell: float) -> QuadMesh:
    label, labels = axes.get_xlabel(), table.map(lambda share: f"{100 * share:.0f}")
    fits = CHARACTER_WIDTH * labels.map(len).to_numpy().max() < cell
    # Where names of neighbours would touch, every other one stands for the next too.
    step = 1 if CHARACTER_WIDTH * (max(map(len, table.columns)) + 1) < cell else 2
    sns.heatmap(
        table, ax=axes, cmap="crest", vmin=0.0, vmax=largest, linewidths=0.8, linecolor="none", cbar=False,
        annot=labels if fits else None, fmt="", annot_kws={"fontsize": FONT_SIZE}, yticklabels=True,
        xticklabels=[name if at % step == 0 else "" for at, name in enumerate(table.columns)],
    )  # fmt: skip
    for text in axes.texts:  # almost white: the page turns pure white into its own ground
        if text.get_color() == "w":
            text.set_color("#fefefe")
    axes.set_xlabel(label)
    axes.set_ylabel("")
    axes.tick_params(length=0, rotation=0)
    mesh = axes.collections[0]
    assert isinstance(mesh, QuadMesh)
    return mesh
