"""The figures of cost: curves against FLOPs and seconds, what it takes to reach the reference, size against loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import figures
from reports.comparisons import compare
from reports.cost_curves import flops
from reports.efficiency import reaching
from reports.figures.reaching import round_ratios
from reports.figures.sizes import front
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import drawn, lines, unequal


def test_curves_against_flops_and_seconds_share_their_losses() -> None:
    study, trials, curves = unequal()
    left, right = drawn(figures.loss_over_cost(study, trials, curves)).axes
    for axes, column in ((left, "flops"), (right, "seconds")):
        means = lines(axes, bold=True)
        assert len(means) == len(study.arms)
        for arm, line in zip(study.arms, means, strict=True):
            rows = curves[curves["arm"] == arm.name]
            rows = rows.assign(flops=rows["tokens"] * arm.flops_per_token)
            expected = rows.groupby("step")[[column, "validation_loss"]].mean()
            assert np.asarray(line.get_xdata()) == pytest.approx(expected[column].to_numpy(), rel=1e-12)
            assert np.asarray(line.get_ydata()) == pytest.approx(expected["validation_loss"].to_numpy(), rel=1e-12)
    assert (left.get_xlabel(), right.get_xlabel()) == ("training FLOPs", "seconds of training")
    assert len(drawn(figures.loss_over_cost(study, trials, curves)).legends[0].get_texts()) == 4


def test_seconds_that_differ_between_seeds_are_averaged() -> None:
    study, trials, curves = unequal()
    slower = curves.assign(seconds=curves["seconds"] * (1 + 0.1 * curves["seed"]))
    axes = drawn(figures.loss_over_cost(study, trials, slower)).axes[1]
    expected = slower[slower["arm"] == study.arms[0].name].groupby("step")["seconds"].mean()
    assert np.asarray(lines(axes, bold=True)[0].get_xdata()) == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_what_it_takes_is_that_of_the_table() -> None:
    study, trials, curves = unequal()
    panels = drawn(figures.cost_to_reach(study, trials, curves)).axes
    assert [axes.get_xlabel() for axes in panels] == ["tokens", "training FLOPs", "seconds"]
    comparisons = compare(study, trials).values()
    found = [reaching(study, curves, comparison.pairs, flops) for comparison in comparisons]
    dots = [line for line in panels[1].lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [one.mean for one in found if one.reached]
    names = [label.get_text().replace("\n", " ") for label in panels[0].get_yticklabels()]
    for name, one, comparison in zip(names, found, comparisons, strict=True):
        assert name.startswith(comparison.arm)
        assert name.endswith(f"({one.reached or 'none'} of {one.pairs} seeds)") == (one.reached < one.pairs)
    assert all(axes.get_xlim()[0] < 1 < axes.get_xlim()[1] for axes in panels)


@pytest.mark.parametrize(
    ("reach", "ticks"), [(0.0, [1]), (0.1, [0.95, 1, 1.1]), (0.5, [0.8, 1, 1.5]), (3, [0.05, 1, 20])]
)  # fmt: skip
def test_there_is_a_round_ratio_at_each_side_of_one(reach: float, ticks: list[float]) -> None:
    assert round_ratios(reach) == pytest.approx(ticks)


def test_no_such_figures_without_what_they_show() -> None:
    study, trials, curves = synthetic.four_arms()
    assert figures.loss_over_cost(study, trials, curves[:0]) is None
    assert figures.cost_to_reach(study, trials, curves[curves["arm"] == study.reference]) is None
    assert figures.size_and_loss(*synthetic.grid(1)) is None  # all of one size


def test_size_and_loss_has_a_dot_and_an_interval_an_arm_and_the_front() -> None:
    study, trials, curves = unequal()
    figure = drawn(figures.size_and_loss(study, trials, curves))
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    means = trials.groupby("arm")["validation_loss"].mean()
    points = [(float(arm.inference_parameters), float(means[arm.name])) for arm in study.arms]
    shown = [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots]
    assert np.asarray(shown) == pytest.approx(np.asarray(points), rel=1e-12)
    first = trials[trials["arm"] == study.arms[0].name]["validation_loss"].astype(float)
    assert tuple(axes.lines[0].get_ydata()) == pytest.approx(t_interval(first), rel=1e-12)
    steps = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert steps.get_xydata()[:-1] == pytest.approx(np.asarray(front(points)), rel=1e-12)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "Pareto front"


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_front_holds_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    def beaten(point: tuple[float, float]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)

    assert front(points) == sorted({point for point in points if not beaten(point)})
