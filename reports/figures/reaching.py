"""What each arm needs to reach the reference's final loss: in tokens, training FLOPs and seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.efficiency import COSTS, Reaching, reaching
from reports.figures.rows import bare_rows, draw_estimate, row_heights, row_places
from reports.figures.style import (
    INK,
    TEXT_WIDTH,
    arm_styles,
    drawn,
    new_figure,
    wrapped,
)
from reports.wording import counted

NAME_WIDTH = 26


@drawn
def cost_to_reach(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Draw the cost of each arm to reach the reference's final loss over the reference's own, one panel a cost.

    Dots are geometric means over the pairs that reach it, lines their 95 % t intervals, small marks the pairs. An arm
    whose seeds do not all reach the loss says how many do. None where no arm reaches it in any pair.
    """
    found = {
        arm: {name: reaching(study, curves, comparison.pairs, cost) for name, (_, cost) in COSTS.items()}
        for arm, comparison in compare(study, trials).items()
    }
    found = {arm: costs for arm, costs in found.items() if costs["tokens"].pairs}
    if not any(costs["tokens"].reached for costs in found.values()):
        return None
    styles = arm_styles(study)
    names = [wrapped(styles[arm].label, NAME_WIDTH, 3) + _count(costs["tokens"]) for arm, costs in found.items()]
    rows = row_heights(names)
    places = row_places(rows)
    figure = new_figure(TEXT_WIDTH, sum(rows) + 0.62)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axes, (name, (title, _)) in zip(panels, COSTS.items(), strict=True):
        for place, (arm, costs) in zip(places, found.items(), strict=True):
            one = costs[name]
            if one.reached:
                draw_estimate(axes, place, one.mean, one.interval, one.ratios, styles[arm])
        _finish(axes, title, list(found.values()), name)
    panels[0].set_ylim(sum(rows), 0)
    panels[0].set_yticks(places, names)
    return figure


def _count(found: Reaching) -> str:
    """Return a line that says how many seeds reach the loss, where not all do."""
    if found.reached == found.pairs:
        return ""
    return f"\n({found.reached or 'none'} of {counted(found.pairs, 'seed')})"


def _finish(axes: Axes, title: str, found: Sequence[dict[str, Reaching]], name: str) -> None:
    axes.axvline(1, color=INK, linewidth=0.9, zorder=1)
    ends = [end for costs in found for end in (*costs[name].ratios, *costs[name].interval) if end > 0]
    reach = 1.08 * max((abs(math.log(end)) for end in ends if math.isfinite(end)), default=0.1) or 0.1
    axes.set_xscale("log")
    axes.set_xlim(math.exp(-reach), math.exp(reach))
    axes.xaxis.set_major_locator(FixedLocator(round_ratios(reach)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"×{ratio:g}"))
    axes.set_xlabel(title)
    bare_rows(axes)


def round_ratios(reach: float) -> list[float]:
    """Return 1 and, at each side of it, the farthest round ratio whose logarithm is within `reach`."""
    steps = [digit * 10.0**power for power in (-4, -3, -2, -1, 0, 1, 2, 3) for digit in (1, 2, 5)]
    below = [1 - step if step < 1 else 1 / step for step in steps if step != 1]
    above = [1 + step if step < 1 else step for step in steps if step != 1]
    inside = [[ratio for ratio in side if abs(math.log(ratio)) <= reach] for side in (below, above)]
    return [*inside[0][-1:], 1.0, *inside[1][-1:]]
