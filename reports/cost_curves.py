"""Loss curves by what they cost: in tokens, in training FLOPs, or in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablations.stored import StoredArm
from reports.statistics import Numbers

Cost = Callable[[StoredArm, pd.DataFrame], "pd.Series[float]"]
"""Gives what each evaluation of an arm's curve had cost until then."""


def tokens(arm: StoredArm, rows: pd.DataFrame) -> pd.Series[float]:
    """Training tokens until each evaluation."""
    return rows["tokens"]


def flops(arm: StoredArm, rows: pd.DataFrame) -> pd.Series[float]:
    """Training FLOPs until each evaluation."""
    return rows["tokens"] * float(arm.flops_per_token)


def seconds(arm: StoredArm, rows: pd.DataFrame) -> pd.Series[float]:
    """Seconds of training until each evaluation."""
    return rows["seconds"]


@dataclass(frozen=True)
class CostCurve:
    """One trial's evaluations: what each had cost, ascending, and its validation loss, (evaluations,) each."""

    costs: Numbers
    losses: Numbers

    def at(self, cost: float) -> float:
        """Return the loss at a cost on the straight line between two evaluations; NaN before the first one."""
        return float(np.interp(cost, self.costs, self.losses)) if self.costs[0] <= cost else math.nan

    def reaching(self, loss: float) -> float:
        """Return the first cost at which the curve is at a loss or below, on the same lines; NaN where it never is."""
        below = self.losses <= loss
        if not below.any():
            return math.nan
        first = int(np.argmax(below))
        if first == 0:
            return float(self.costs[0])
        (above, beneath), (before, after) = self.losses[first - 1 : first + 1], self.costs[first - 1 : first + 1]
        return float(before + (above - loss) / (above - beneath) * (after - before))


def cost_curves(arm: StoredArm, curves: pd.DataFrame, cost: Cost) -> dict[int, CostCurve]:
    """Return the curves of an arm by seed; evaluations without a loss or a cost are left out."""
    rows = curves[curves["arm"] == arm.name]
    rows = rows.assign(cost=cost(arm, rows)).dropna(subset=["cost", "validation_loss"])
    return {
        int(str(seed)): CostCurve(trial["cost"].to_numpy(dtype=float), trial["validation_loss"].to_numpy(dtype=float))
        for seed, trial in rows.groupby("seed")
    }
