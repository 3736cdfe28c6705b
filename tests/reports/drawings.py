"""What the tests of figures share: small studies, figures drawn once, and the lines of one."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablations.stored import StoredStudy
from reports.figures.catalogue import NamedFigure, all_figures
from tests.reports import synthetic


def small_grid() -> tuple:  # type: ignore[type-arg]
    return synthetic.grid(1)


def attached(seeds: int = 3) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """Two objectives at four places, beside a reference."""
    factors = {
        "objective": [{"name": "plug", "window": 3}, "bag_of_words"],
        "objective.attach": ["encoder", {"layer": 10}, "decoder", {"layer": 2}],
    }
    arms = {"base": {}} | {
        f"{objective}, {place}": {"objective": objective, "objective.attach": place}
        for objective, place in itertools.product(*factors.values())
    }
    study = synthetic.study_of(arms, "base", seeds, factors=factors)
    losses = {name: synthetic.seed_losses(4, -0.001 * place, seeds) for place, name in enumerate(arms)}
    trials = synthetic.trials_of(study, losses)
    return study, trials, synthetic.curves_of(study, trials)


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


@functools.cache
def drawn_once(make: Callable[[], tuple]) -> list[NamedFigure]:  # type: ignore[type-arg]
    return list(all_figures(*make()))


def lines(axes: Axes, *, bold: bool) -> list[Line2D]:
    return [line for line in axes.lines if (line.get_linewidth() > 1) == bold and len(line.get_xdata()) > 1]
