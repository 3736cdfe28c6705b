"""What the tests of figures share: small studies, figures drawn once, and the lines of one."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import BboxBase

from ablations.stored import StoredStudy
from reports.figures.catalogue import NamedFigure, all_figures
from tests.reports import synthetic

FACTORS: dict[str, list[Any]] = {
    "objective.aggregator": ["average", "decay", "maximum"],
    "objective.distance": ["mse", "cosine"],
    "objective.n": [3, 11],
}
LONG_FACTORS: dict[str, list[Any]] = {
    "objective": [
        {"name": "representation_of_the_future", "distance": {"name": "info_nce", "temperature": 0.07}},
        "an_objective_of_a_plug_in_whose_name_is_one_long_word",
        "$x_{1}$ 100 %",
    ],
    "objective.attach": ["encoder", {"layer": 10}],
    "model.a_long.dotted_key.of_a_plug_in_with_more": [1, 30],
}
TOLERANCE = 1.0
"""Pixels, at 100 an inch, that texts may be out or over each other: boxes are wider than ink."""


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


def unequal() -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """Four arms of four sizes and costs."""
    study, trials, curves = synthetic.four_arms()
    sizes, costs = (1_190_000, 1_100_000, 1_300_000, 1_250_000), (7_000_000, 7_000_000, 9_000_000, 12_000_000)
    arms = [
        arm.model_copy(update={"inference_parameters": size, "flops_per_token": cost})
        for arm, size, cost in zip(study.arms, sizes, costs, strict=True)
    ]
    return study.model_copy(update={"arms": arms}), trials, curves


def one_sweep(seeds: int = 5) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """Three horizons beside a reference; the names are short."""
    arms: dict[str, dict[str, Any]] = {"base": {}, **{f"n={n}": {"objective.n": n} for n in (26, 3, 11)}}
    study = synthetic.study_of(arms, "base", seeds, factors={"objective.n": [26, 3, 11]})
    losses = {name: synthetic.seed_losses(4, -0.001 * place, seeds) for place, name in enumerate(arms)}
    trials = synthetic.trials_of(study, losses)
    return study, trials, synthetic.curves_of(study, trials)


def crossed(seeds: int = 5, factors: dict[str, list[Any]] = FACTORS) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """A full grid beside a reference that is no part of it; every arm's losses are its own."""
    arms: dict[str, dict[str, Any]] = {"base": {}}
    for values in itertools.product(*factors.values()):
        arms[", ".join(map(str, values))] = dict(zip(factors, values, strict=True))
    study = synthetic.study_of(arms, "base", seeds, factors=factors)
    losses = {name: synthetic.seed_losses(4.02, -0.003 * place, seeds) for place, name in enumerate(arms)}
    trials = synthetic.trials_of(study, losses)
    return study, trials, synthetic.curves_of(study, trials)


def long_names() -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """A grid of few seeds whose factors and values have long names."""
    return crossed(2, LONG_FACTORS)


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


@functools.cache
def drawn_once(make: Callable[[], tuple]) -> list[NamedFigure]:  # type: ignore[type-arg]
    return list(all_figures(*make()))


def lines(axes: Axes, *, bold: bool) -> list[Line2D]:
    return [line for line in axes.lines if (line.get_linewidth() > 1) == bold and len(line.get_xdata()) > 1]


def text_problems(figure: Figure) -> list[str]:
    """Say what is wrong with the texts of a figure: too small, cut off, over another one, or a legend over axes.

    Exponents are smaller than what they belong to, as everywhere.
    """
    texts = _drawn_texts(figure)
    words = [text.get_text() for text in texts]
    boxes = _boxes([Text.get_window_extent(text) for text in texts])  # without the arrows of annotations
    problems = [f"{figure.get_figwidth()} inches wide"] if figure.get_figwidth() > 6.75 else []
    problems += [f"{text.get_text()!r} is set in {text.get_fontsize()} pt" for text in texts if text.get_fontsize() < 7]
    problems += [f"{words[place]!r} is cut off" for place in np.flatnonzero(_outside(boxes, figure))]
    pairs = np.argwhere(np.triu(_overlaps(boxes, boxes), 1))
    problems += [f"{words[first]!r} lies over {words[second]!r}" for first, second in pairs]
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    legends, areas = (
        _boxes([item.get_window_extent() for item in items]) for items in (figure.findobj(Legend), panels)
    )
    return problems + ["a legend lies over axes"] * bool(_overlaps(legends, areas).any())


def _drawn_texts(figure: Figure) -> list[Text]:
    """Return every text that is drawn: a figure also holds others, such as the labels of ticks out of sight."""
    found: list[Text] = []
    draw = Text.draw

    @functools.wraps(draw)
    def noted(text: Text, *args: object, **kwargs: object) -> None:
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        draw(text, *args, **kwargs)

    with mock.patch.object(Text, "draw", noted):
        figure.draw_without_rendering()
    return found


def _boxes(extents: Sequence[BboxBase]) -> np.ndarray:
    """Return left, bottom, right, top of each, (boxes, 4)."""
    return np.array([extent.extents for extent in extents]).reshape(-1, 4)


def _outside(boxes: np.ndarray, figure: Figure) -> np.ndarray:
    inside = figure.bbox.extents
    return (boxes[:, :2] < inside[:2] - TOLERANCE).any(axis=1) | (boxes[:, 2:] > inside[2:] + TOLERANCE).any(axis=1)


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which boxes share more than the tolerance with which others, in both directions."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return ((high - low) > TOLERANCE).all(axis=2)


def with_tasks(
    make: Callable[[], tuple[StoredStudy, pd.DataFrame, pd.DataFrame]] = synthetic.four_arms,
) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """A study whose trials were measured at two planning tasks; in the later arms some seeds find the first one."""
    study, trials, curves = make()
    last = curves["step"] == curves["step"].max()
    place = curves["arm"].map({arm.name: place for place, arm in enumerate(study.arms)})
    found = (curves["seed"] + 2 * place > 5) & last
    return (
        study,
        trials,
        curves.assign(
            **{
                "task:path-star/accuracy": 0.5 + 0.48 * found - 0.01 * curves["seed"],
                "task:path-star/chance": 0.5,
                "task:delayed recall/accuracy": 0.1 + 0.15 * place + 0.02 * curves["seed"],
                "task:delayed recall/chance": 0.1,
            }
        ),
    )
