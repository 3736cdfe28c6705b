"""Loss curves: validation loss against what it cost; the whole run, or its last fifth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ablations.stored import StoredStudy
from reports.cost_curves import flops
from reports.figures.style import (
    COLUMN_WIDTH,
    MOST_ARMS_WITH_SEEDS,
    ROUND_STEPS,
    TEXT_WIDTH,
    ArmStyle,
    arm_styles,
    drawn,
    legend_below,
    name_lines,
    new_figure,
)
from reports.statistics import EXPLORATORY_PAIRS, t_interval

LAST_PART = 0.2
X_LABELS = {"tokens": "training tokens", "flops": "training FLOPs", "seconds": "seconds of training", "step": "step"}


@drawn
def loss_curves(
    study: StoredStudy,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    measure: str = "validation_loss",
    against: str = "tokens",
) -> Figure | None:
    """Draw each trial as a thin line, each arm's mean bold with its 95 % t interval over seeds; None without curves.

    With more than eight arms only the means are drawn. `against` is "tokens", "flops", "seconds" or "step".
    """
    return _one(study, trials, curves, measure, against, zoom=False)


@drawn
def final_curves(
    study: StoredStudy,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    measure: str = "validation_loss",
    against: str = "tokens",
) -> Figure | None:
    """Draw the last fifth of the loss curves, where arms part; None where fewer than two evaluations lie in it."""
    return _one(study, trials, curves, measure, against, zoom=True)


@drawn
def loss_over_cost(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, measure: str = "validation_loss"
) -> Figure | None:
    """Draw the loss curves of the whole run against training FLOPs, and beside it against seconds of training.

    None without curves. The seconds of an arm are the mean over its trials at each evaluation.
    """
    figure = new_figure(TEXT_WIDTH, 2.2)
    panels = figure.subplots(1, 2, sharey=True)
    shown: list[ArmStyle] = []
    for axes, against in zip(panels, ("flops", "seconds"), strict=True):
        ends = _draw(axes, study, trials, curves, measure, against, zoom=False)
        if ends is None:
            return None
        shown = [style for _, style in ends]
    panels[1].set_ylabel("")
    legend_below(figure, shown)
    return figure


def mean_rows(trials: pd.DataFrame, rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the rows of one arm that its mean is taken over.

    Finished trials if there are any, else all; and of these only the evaluations that every one of them has reached: a
    mean over a changing set of seeds would jump where a seed joins or leaves.
    """
    done = set(trials.loc[trials["status"] == "done", "trial"])
    chosen = rows[rows["trial"].isin(done)] if rows["trial"].isin(done).any() else rows
    chosen = chosen.dropna(subset=[measure])
    reached: pd.Series[int] = chosen.groupby("step")["trial"].transform("nunique")
    return chosen[reached == chosen["trial"].nunique()]


def band(values: Iterable[float]) -> tuple[float, float]:
    """Return the 95 % t interval of a mean over seeds; no width below three seeds, where it says nothing."""
    numbers = np.fromiter(values, dtype=np.float64)
    if numbers.size < EXPLORATORY_PAIRS:
        return float(numbers.mean()), float(numbers.mean())
    return t_interval(numbers)


def _one(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, measure: str, against: str, *, zoom: bool
) -> Figure | None:
    figure = new_figure(COLUMN_WIDTH, 2.3)
    axes = figure.subplots()
    ends = _draw(axes, study, trials, curves, measure, against, zoom=zoom)
    if ends is None:
        return None
    name_lines(axes, ends)
    return figure


def _draw(
    axes: Axes,
    study: StoredStudy,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    measure: str,
    against: str,
    *,
    zoom: bool,
) -> list[tuple[float, ArmStyle]] | None:
    """Draw the curves of all arms; return where each mean ends, None where there is nothing to see."""
    if curves.empty:
        return None
    curves = _costed(study, curves).dropna(subset=[measure, against])
    if curves.empty:
        return None
    styles = arm_styles(study)
    start = float(curves[against].max()) * (1 - LAST_PART) if zoom else -np.inf
    ends: list[tuple[float, ArmStyle]] = []
    shown: list[Any] = []
    spread = len(styles) <= MOST_ARMS_WITH_SEEDS
    for arm, style in styles.items():
        rows = curves[(curves["arm"] == arm) & (curves[against] >= start)]
        means = mean_rows(trials[trials["arm"] == arm], rows, measure)
        if means.empty:
            continue
        # Trials reach a step after different times: their mean stands at the mean of these.
        means = means.assign(**{against: means.groupby("step")[against].transform("mean")})
        _draw_arm(axes, rows, means, measure, against, style, spread=spread)
        shown.append(means if spread else means.groupby(["step", against], as_index=False)[measure].mean())
        ends.append((float(means[means["step"] == means["step"].max()][measure].mean()), style))
    if not shown or (zoom and max(rows["step"].nunique() for rows in shown) < 2):
        return None
    _limits(axes, shown, measure, against)
    for arm, style in styles.items():
        _mark_failures(axes, trials, curves[curves["arm"] == arm], measure, against, style)
    axes.set(xlabel=X_LABELS.get(against, against), ylabel=f"{measure.replace('_', ' ')} (nats per token)")
    sns.despine(ax=axes)
    return ends


def _costed(study: StoredStudy, curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves with the training FLOPs until each evaluation."""
    rows = [(arm, curves[curves["arm"] == arm.name]) for arm in study.arms]
    return pd.concat([own.assign(flops=flops(arm, own)) for arm, own in rows if len(own)])


def _draw_arm(
    axes: Axes, rows: pd.DataFrame, means: pd.DataFrame, measure: str, against: str, style: ArmStyle, *, spread: bool
) -> None:
    if not spread:  # seaborn takes its time, and these are many
        line = means.groupby(against)[measure].mean()
        axes.plot(line.index, line.to_numpy(), color=style.colour, linewidth=1.4, linestyle=style.dashes, zorder=3)
        return
    if rows["trial"].nunique() > 1:
        sns.lineplot(
            rows, x=against, y=measure, units="trial", estimator=None, ax=axes, color=style.colour, linewidth=0.4,
            alpha=0.45, legend=False, zorder=1,
        )  # fmt: skip
    sns.lineplot(
        means, x=against, y=measure, estimator="mean", errorbar=band, ax=axes, color=style.colour, linewidth=1.4,
        linestyle=style.dashes, legend=False, zorder=3, err_kws={"alpha": 0.12, "linewidth": 0},
    )  # fmt: skip


def _mark_failures(
    axes: Axes, trials: pd.DataFrame, rows: pd.DataFrame, measure: str, against: str, style: ArmStyle
) -> None:
    """Put a cross where a failed trial is seen last: at its end, or before it left the picture."""
    failed = trials.loc[trials["status"] == "failed", "trial"]
    inside = rows[rows["trial"].isin(failed) & (rows[measure] <= axes.get_ylim()[1])]
    lasts = inside.groupby("trial").tail(1)
    axes.plot(lasts[against], lasts[measure], "x", color=style.colour, markersize=4, zorder=4)


def _limits(axes: Axes, arms: Sequence[pd.DataFrame], measure: str, against: str) -> None:
    """Set limits by the trials that count, with their bands: one that diverged must not flatten all others."""
    shown = pd.concat(arms)
    bands = [end for rows in arms for _, losses in rows.groupby("step")[measure] for end in band(losses)]
    low, high = min(*bands, shown[measure].min()), max(*bands, shown[measure].max())
    margin = 0.04 * (high - low) or 0.01
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(float(shown[against].min()), float(shown[against].max()))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.set_major_formatter(EngFormatter(sep="\N{NARROW NO-BREAK SPACE}"))
    axes.yaxis.grid(True)
