"""The sweeps over names: objectives and the places where they attach."""

from __future__ import annotations

import math

import pytest

from reports import figures
from reports.figures.sweeps import categories
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import attached, drawn, drawn_once, lines


def test_places_are_categories_as_written_and_layers_by_depth() -> None:
    study, trials, curves = attached()
    figure = drawn(figures.category_sweep(study, trials, curves, key="objective.attach"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["encoder", "layer 2", "decoder", "layer 10"]
    dots = [line for line in axes.lines if line.get_marker() not in ("None", "")]
    for objective, colour in zip(study.factors["objective"], dict.fromkeys(d.get_color() for d in dots), strict=True):
        own = {
            str(arm.settings["objective.attach"]): trials[trials["arm"] == arm.name]["validation_loss"].mean()
            for arm in study.arms
            if arm.settings.get("objective") == objective
        }
        expected = [own[place] for place in ("encoder", "{'layer': 2}", "decoder", "{'layer': 10}")]
        shown = sorted((dot for dot in dots if dot.get_color() == colour), key=lambda dot: dot.get_ydata()[0])
        assert [dot.get_xdata()[0] for dot in shown] == pytest.approx(expected, rel=1e-12)
    (band,) = axes.patches
    reference = trials[trials["arm"] == "base"]["validation_loss"].astype(float)
    corners = band.get_extents().transformed(axes.transData.inverted())
    assert (corners.x0, corners.x1) == pytest.approx(t_interval(reference), rel=1e-9)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["objective plug(window=3)", "objective bag_of_words", "base"]


def test_whole_objectives_are_categories_and_one_combination_shows_its_seeds() -> None:
    study, trials, curves = attached()
    (axes,) = drawn(figures.category_sweep(study, trials, curves, key="objective")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plug(window=3)", "bag_of_words"]
    assert not lines(axes, bold=False)
    one_place = [arm for arm in study.arms if arm.settings.get("objective.attach") in (None, "decoder")]
    (axes,) = drawn(
        figures.category_sweep(study.model_copy(update={"arms": one_place}), trials, curves, key="objective")
    ).axes
    losses = [trials[trials["arm"] == arm.name]["validation_loss"].tolist() for arm in one_place[1:]]
    assert [list(line.get_xdata()) for line in lines(axes, bold=False)] == [
        list(pair) for pair in zip(*losses, strict=True)
    ]


def test_the_catalogue_has_the_category_sweeps_in_words() -> None:
    found = {item.name: item.title for item in drawn_once(attached)}
    assert found["objective_sweep"] == "Objectives"
    assert found["objective_attach_sweep"] == "Where the objective attaches"


def test_no_category_sweep_without_two_finished_values() -> None:
    study, trials, curves = attached()
    unfinished = trials["arm"] != study.arms[1].name
    trials.loc[unfinished, ["status", "validation_loss"]] = ["pending", math.nan]
    assert figures.category_sweep(study, trials, curves, key="objective.attach") is None


@pytest.mark.parametrize(
    ("written", "ordered"),
    [
        (["b", "a"], ["b", "a"]),
        ([{"layer": 10}, "decoder", {"layer": 2}], [{"layer": 2}, "decoder", {"layer": 10}]),
        ([{"name": "b", "n": 2}, "none", "none"], [{"name": "b", "n": 2}, "none"]),
    ],
)
def test_the_order_of_categories(written: list[object], ordered: list[object]) -> None:
    study = synthetic.study_of({"base": {}}, "base", 1, factors={"objective.attach": written})
    assert categories(study, "objective.attach") == ordered
