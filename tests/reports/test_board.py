"""What is shown of the probe of boards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reports.figures.probe_board import best_place, spread
from reports.figures.probes import DRAWINGS
from reports.figures.style import arm_styles
from reports.probe_tables import MAIN
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import drawn, small_grid, text_problems
from tests.reports.probed_models import board_of, of_probe


def test_gains_are_means_over_seeds_by_place_and_moves_ahead() -> None:
    study = synthetic.four_arms()[0]
    states = board_of(study)["states"]
    figure = drawn(of_probe("board", study, board_of(study)))
    for axes, arm in zip(figure.axes, study.arms[1:], strict=False):
        own = states[states["arm"] == arm.name]
        expected = own.groupby(["place", "ahead"], sort=False)["gain"].mean().unstack("ahead")
        assert np.asarray(axes.collections[0].get_array()).ravel() == pytest.approx(expected.to_numpy().ravel())
        assert [label.get_text() for label in axes.get_yticklabels()] == list(expected.index)


def test_accuracies_stand_beside_the_controls_of_their_place() -> None:
    study = synthetic.four_arms()[0]
    tables = board_of(study)
    untrained = tables["controls"]["control"] == "untrained"
    tables["controls"].loc[untrained & (tables["controls"]["place"] == "decoder"), "accuracy"] += 0.1
    figure = drawn(of_probe("board", study, tables, 1))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["encoder", "decoder"]
    styles = arm_styles(study)
    for axes, shift in zip(figure.axes, (0, 0.1), strict=True):
        majority, ply, before, unchanged, present, *arms = axes.lines
        assert list(majority.get_ydata()) == pytest.approx([0.5, 0.48, 0.46, 0.44])
        assert list(ply.get_ydata()) == pytest.approx([0.6, 0.58, 0.56, 0.54])
        assert list(before.get_ydata()) == pytest.approx([0.7 + shift, 0.68 + shift, 0.66 + shift, 0.64 + shift])
        assert list(unchanged.get_xdata()) == list(present.get_xdata()) == [1, 2, 3]
        own = tables["states"][tables["states"]["place"] == axes.get_title(loc="left")]
        for line, arm in zip(arms, study.arms[1:], strict=True):
            assert line.get_color() == styles[arm.name].colour
            rows = own[own["arm"] == arm.name]
            assert list(line.get_ydata()) == pytest.approx(rows.groupby("ahead")["accuracy"].mean().tolist())
        bars = axes.collections[0].get_segments()
        first = own[(own["arm"] == study.arms[1].name) & (own["ahead"] == 0)]["accuracy"]
        assert bars[0][:, 1].tolist() == pytest.approx(t_interval(first))


def test_boards_are_those_of_the_best_place() -> None:
    study = synthetic.four_arms()[0]
    tables = board_of(study, n=5, shape=(6, 7))
    figure = drawn(of_probe("board", study, tables, 2))
    boards = [axes for axes in figure.axes if axes.images]
    assert [axes.get_xlabel() for axes in boards[-4:]] == ["now", "2 ahead", "3 ahead", "5 ahead"]
    cells = tables["cells"]
    for axes, arm in zip(boards[::4], study.arms[1:], strict=True):
        place = best_place(tables["states"], arm.name)
        assert axes.get_title(loc="left") == f"{arm.name}, {place}"
        own = cells[(cells["arm"] == arm.name) & (cells["place"] == place) & (cells["ahead"] == 0)]
        expected = own.groupby(["row", "column"])["accuracy"].mean().to_numpy().reshape(6, 7)
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), expected, rtol=1e-12)
        (hatched,) = [patch for patch in axes.patches if patch.get_hatch()]
        assert hatched.get_xy() == (-0.5, -0.5)
    states = tables["states"].assign(accuracy=0.5)
    states.loc[(states["place"] == "bridge") & (states["ahead"] == 0), "accuracy"] = 0.6
    assert best_place(states, study.arms[1].name) == "bridge"


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (6, [0, 2, 3, 5]), (9, [0, 3, 5, 8])]
)
def test_a_few_of_many_are_spread(count: int, expected: list[int]) -> None:
    assert spread(list(range(count)), 4) == expected


def test_many_arms_take_several_figures() -> None:
    study, *_ = small_grid()
    names = [name for name, *_ in DRAWINGS["board"](board_of(study, n=1), arm_styles(study))]
    gains, cells = ([name for name in names if name.startswith(f"probe_board_{kind}")] for kind in ("gain", "cells"))
    assert len(gains) == 3
    assert len(cells) == 5
    assert names == [*gains, "probe_board_accuracy", *cells]


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.hostile])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("n", "shape"), [(0, (3, 3)), (3, (8, 8))])
def test_every_text_can_be_read(
    make: Callable[[], tuple[Any, ...]], place: int, n: int, shape: tuple[int, int]
) -> None:
    study = make()[0]
    tables = board_of(study, n, shape, arms=slice(0, None))
    assert text_problems(drawn(of_probe("board", study, tables, place))) == []


def test_the_table_has_places_above_and_controls_below() -> None:
    study = synthetic.four_arms(3)[0]
    tables = board_of(study)
    table = MAIN["board"](tables)
    assert [column.title for column in table.columns] == [
        "arm", "place", "now", "1 ahead", "2 ahead", "3 ahead", "above the controls", "above present, 3 ahead"
    ]  # fmt: skip
    assert table.totals == 4
    assert [row[0].text for row in table.rows[-4:]] == [
        "what a cell holds most often", "the same, after as many moves", "the true board now",
        "a probe on the true board now",
    ]  # fmt: skip
    assert [cell.text for cell in table.rows[-2][1:]] == ["", "–", "0.890", "0.790", "0.690", "", ""]
    states = tables["states"]
    arm = study.arms[3].name
    (row,) = [row for row in table.rows if (row[0].text, row[1].text) == (arm, "decoder")]
    own = states[(states["arm"] == arm) & (states["place"] == "decoder")].groupby("ahead")
    assert [cell.key for cell in row[2:6]] == pytest.approx(own["accuracy"].mean().tolist())
    assert row[6].key == pytest.approx(own["gain"].mean()[0])
    assert row[7].key == pytest.approx(own["above_present"].mean()[3])
    assert [cell.strong for cell in row[6:]] == [True, row[7].key > 0]
    assert "88 others" in table.notes[0]
    alone = {name: frame[frame["arm"] == arm] for name, frame in board_of(study, n=0).items()}
    table = MAIN["board"](alone)
    assert [column.title for column in table.columns] == ["place", "now", "above the controls"]
    assert table.totals == 2
