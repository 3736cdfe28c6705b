"""The small curves: few points, one pair of axes, and words that say the same."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from reports.small_curves import HEIGHT, MOST_POINTS, WIDTH, SmallAxes, small_axes, small_curve
from tests.reports import synthetic

AXES = SmallAxes(tokens=1000, low=2, high=4)


def rows(tokens: list[float], losses: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"tokens": tokens, "validation_loss": losses})


def points(drawing: str) -> list[tuple[float, float]]:
    found = re.search('<polyline points="([^"]*)"', drawing)
    assert found is not None
    return [(float(x), float(y)) for x, y in (point.split(",") for point in found[1].split())]


def test_a_curve_stands_where_its_numbers_are() -> None:
    drawing = small_curve(AXES, rows([0, 500, 1000], [4, 2.5, 2]))
    assert points(drawing) == [(0, 0), (WIDTH / 2, 0.75 * HEIGHT), (WIDTH, HEIGHT)]
    assert "<title>Validation loss in 3 evaluations: first 4.0000, lowest 2.0000, last 2.0000.</title>" in drawing


def test_many_evaluations_become_few_points_and_the_words_know_all() -> None:
    tokens = list(np.linspace(0, 1000, 1001))
    losses = [4 - token / 1000 for token in tokens]
    losses[501] = 1.5
    drawing = small_curve(AXES, rows(tokens, losses))
    assert len(points(drawing)) == MOST_POINTS
    assert (points(drawing)[0], points(drawing)[-1]) == ((0, 0), (WIDTH, HEIGHT / 2))
    assert "first 4.0000, lowest 1.5000, last 3.0000" in drawing


def test_what_diverges_leaves_the_drawing_and_what_is_missing_is_left_out() -> None:
    drawing = small_curve(AXES, rows([0, 500, math.nan, 1000], [4, math.nan, 3, 1e30]))
    assert points(drawing) == [(0, 0), (WIDTH, -HEIGHT)]
    assert "in 2 evaluations" in drawing
    assert small_curve(AXES, rows([0], [math.nan])) == ""


@pytest.mark.parametrize("axes", [AXES, SmallAxes(0, 3, 3)])
def test_one_evaluation_is_a_dot(axes: SmallAxes) -> None:
    first, second = points(small_curve(axes, rows([0], [3])))
    assert first == second


def test_finished_trials_decide_on_the_axes_and_their_start_does_not() -> None:
    _, trials, curves = synthetic.half_finished()
    axes = small_axes(trials, curves)
    assert axes is not None
    done = curves[curves["trial"].isin(trials[trials["status"] == "done"]["trial"])]
    assert axes.low == done["validation_loss"].min()
    late = [row.validation_loss for row in done.itertuples() if row.tokens >= 0.1 * 300 * synthetic.TOKENS_A_STEP]
    assert axes.high == max(late) < done["validation_loss"].max() < 40
    assert axes.tokens == 300 * synthetic.TOKENS_A_STEP
    assert small_axes(trials.assign(status="failed"), curves).high == 40  # type: ignore[union-attr]
    assert small_axes(trials, curves.iloc[:0]) is None
