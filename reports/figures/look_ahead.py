"""The final loss by how far ahead the predicted token lies, where an objective has heads that predict it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablations.stored import StoredStudy
from reports.figures.positions import by_arm
from reports.figures.style import COLUMN_WIDTH, ROUND_STEPS, applied, arm_styles, name_lines, new_figure
from reports.statistics import shown_interval


def losses_by_look_ahead(positions: pd.DataFrame, ahead: pd.DataFrame) -> pd.DataFrame:
    """Return the loss of each arm's heads, the network's own at distance 1 included.

    An arm with several objectives that have heads is shown with the first of them.

    Args:
        positions, ahead: as in `ablations.breakdowns.Breakdowns`.

    Returns:
        Indexed by arm and seed, one column a distance in tokens, nats per token.

    """
    firsts = ahead.groupby("arm", sort=False)["objective"].transform("first")
    heads = ahead[ahead["objective"] == firsts].pivot_table(index=["arm", "seed"], columns="distance", values="loss")
    own = positions.groupby(["arm", "seed"])[["nats", "tokens"]].sum()
    heads[1] = (own["nats"] / own["tokens"]).reindex(heads.index)
    return heads.sort_index(axis=1)


def loss_by_look_ahead(study: StoredStudy, positions: pd.DataFrame, ahead: pd.DataFrame) -> Figure | None:
    """Draw the loss of each arm's heads at the end of training against how far ahead they predict.

    Dots are means over seeds with 95 % t intervals, from three seeds on. None where no finished trial has heads.
    """
    if ahead.empty:
        return None
    losses = by_arm(losses_by_look_ahead(positions, ahead))
    with applied():
        styles = arm_styles(study)
        figure = new_figure(COLUMN_WIDTH, 2.3)
        axes = figure.subplots()
        ends = []
        for name in (arm.name for arm in study.arms if arm.name in losses):
            own = losses[name].dropna(axis=1, how="all")
            means: pd.Series[float] = own.mean()
            low, high = np.transpose([shown_interval(own[distance].dropna()) for distance in own.columns])
            style = styles[name]
            axes.plot(own.columns, means, style.marker, color=style.colour, linestyle=style.dashes, markersize=4)
            axes.vlines(own.columns, low, high, color=style.colour, linewidth=1.2)
            ends.append((float(means.iloc[-1]), style))
        axes.set_xlabel("tokens ahead")
        axes.set_ylabel("validation loss (nats per token)")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
        axes.yaxis.grid(True)
        sns.despine(ax=axes)
        name_lines(axes, ends)
    return figure
