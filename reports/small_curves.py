"""Small curves of validation loss over tokens, one a trial, all on the same axes, so that the eye can compare them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from reports import numbers
from reports.statistics import Numbers
from reports.wording import counted

WIDTH, HEIGHT = 160, 36
MOST_POINTS = 60
START = 0.1
"""The part of training whose losses, high in every trial, do not decide how high the axes reach."""


@dataclass(frozen=True)
class SmallAxes:
    """What the curves of a page have in common: tokens from none to `tokens`, losses from `low` to `high`."""

    tokens: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The axes in words."""
        return (
            f"from 0 to {numbers.quantity(self.tokens)} tokens and from {numbers.fixed(self.low)} to "
            f"{numbers.fixed(self.high)} nats per token"
        )


def small_axes(trials: pd.DataFrame, curves: pd.DataFrame) -> SmallAxes | None:
    """Return axes for the curves of all trials; None where there are none.

    Finished trials decide, if there are any: one that diverged must not flatten all others.
    """
    rows = curves.dropna(subset=["tokens", "validation_loss"])
    done = rows[rows["trial"].isin(trials.loc[trials["status"] == "done", "trial"])]
    rows = rows if done.empty else done
    if rows.empty:
        return None
    tokens = float(rows["tokens"].max())
    losses = rows["validation_loss"]
    late = losses[rows["tokens"] >= START * tokens]
    return SmallAxes(tokens, float(losses.min()), float(late.max()))


def small_curve(axes: SmallAxes, rows: pd.DataFrame) -> Markup:
    """Return the curve of one trial as a drawing with its words; nothing where the trial was never evaluated."""
    rows = rows.dropna(subset=["tokens", "validation_loss"])
    if rows.empty:
        return Markup("")
    losses = rows["validation_loss"].to_numpy(float)
    first, lowest, last = (numbers.fixed(value) for value in (losses[0], losses.min(), losses[-1]))
    words = f"Validation loss in {counted(len(losses), 'evaluation')}: first {first}, lowest {lowest}, last {last}."
    return Markup(
        '<svg class="curve" role="img" viewBox="0 0 {} {}"><title>{}</title><polyline points="{}"/></svg>'
    ).format(WIDTH, HEIGHT, words, _points(axes, rows["tokens"].to_numpy(float), losses))


def _points(axes: SmallAxes, tokens: Numbers, losses: Numbers) -> str:
    """Return at most `MOST_POINTS` points, evenly chosen, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(losses) - 1, min(len(losses), MOST_POINTS)).round().astype(int))
    if len(chosen) == 1:
        chosen = np.repeat(chosen, 2)  # a line of no length is drawn as a dot
    across = tokens[chosen] / axes.tokens * WIDTH if axes.tokens else np.zeros(len(chosen))
    up = (losses[chosen] - axes.low) / ((axes.high - axes.low) or math.inf)
    # What leaves the drawing is cut there; far away it would only cost digits.
    down = np.clip(HEIGHT * (1 - up), -HEIGHT, 2 * HEIGHT)
    return " ".join(f"{x:.4g},{y:.3g}" for x, y in zip(across, down, strict=True))
