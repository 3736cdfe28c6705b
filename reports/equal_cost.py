"""Two arms at equal cost: both loss curves read where the cheaper run ends, in training FLOPs or in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ablations.stored import StoredStudy
from reports.comparisons import Pairs
from reports.cost_curves import Cost, cost_curves
from reports.statistics import Numbers, shown_interval


@dataclass(frozen=True)
class EqualCost:
    """The differences of an arm to the reference where both have cost the same.

    Attributes:
        seeds: the pairs whose two curves reach from before the common cost to it, ascending.
        differences: validation loss, arm minus reference, (pairs,), nats per token.
        share: of its own training after which the arm is read, averaged over pairs; 1 is its end.
        reference_share: the same of the reference.

    """

    arm: str
    seeds: tuple[int, ...]
    differences: Numbers = field(repr=False)
    share: float
    reference_share: float

    @property
    def mean(self) -> float:
        """Mean difference; NaN without a pair."""
        return float(self.differences.mean()) if self.seeds else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean; NaN below three pairs."""
        return shown_interval(self.differences)

    @property
    def half_width(self) -> float:
        """Half of that interval."""
        low, high = self.interval
        return (high - low) / 2


def at_equal_cost(study: StoredStudy, curves: pd.DataFrame, pairs: Pairs, cost: Cost) -> EqualCost:
    """Read both curves of each pair at the smaller of the two runs' total costs; `curves` are completed ones."""
    found = list(_readings(study, curves, pairs, cost))
    seeds, differences, shares, reference_shares = zip(*found, strict=True) if found else ((), (), (), ())
    return EqualCost(
        arm=pairs.arm,
        seeds=tuple(seeds),
        differences=np.asarray(differences, dtype=np.float64),
        share=float(np.mean(shares)) if found else math.nan,
        reference_share=float(np.mean(reference_shares)) if found else math.nan,
    )


def _readings(
    study: StoredStudy, curves: pd.DataFrame, pairs: Pairs, cost: Cost
) -> Iterator[tuple[int, float, float, float]]:
    """Yield (seed, difference, share, reference share) of each pair that can be read."""
    own, reference = (cost_curves(study.arm(name), curves, cost) for name in (pairs.arm, pairs.reference))
    for seed in pairs.seeds:
        if seed not in own or seed not in reference:
            continue
        ends = float(own[seed].costs[-1]), float(reference[seed].costs[-1])
        common = min(ends)
        difference = own[seed].at(common) - reference[seed].at(common)
        if math.isfinite(difference) and common > 0:
            yield seed, difference, common / ends[0], common / ends[1]
