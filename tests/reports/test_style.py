"""Labels that fit, stay apart and are drawn as they are."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports import figures
from reports.figures import style
from tests.reports import synthetic

places = st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 0.5)), max_size=8)


@given(places)
def test_moved_labels_do_not_overlap_and_keep_their_order(wanted: list[tuple[float, float]]) -> None:
    middles, sizes = [middle for middle, _ in wanted], [size for _, size in wanted]
    moved = style.moved_apart(middles, sizes)
    order = sorted(range(len(wanted)), key=lambda index: middles[index])
    for lower, upper in itertools.pairwise(order):
        assert moved[upper] - moved[lower] >= (sizes[lower] + sizes[upper]) / 2 - 1e-9


def test_labels_with_room_stay_where_they_are() -> None:
    assert style.moved_apart([2.0, 0.5, 1.2], [0.1, 0.1, 0.1]) == [2.0, 0.5, 1.2]
    assert style.moved_apart([1.0, 1.0], [0.2, 0.2]) == pytest.approx([0.9, 1.1])
    assert style.moved_apart([0.0, 0.1, 2.9], [0.2, 0.2, 0.4], 0, 3) == pytest.approx([0.1, 0.3, 2.8])


@pytest.mark.parametrize("name", ["$x$", "cost: 5 $", r"\$ {", "$\\frac{1}{", "a\x00b", "𝛼 日本"])
def test_a_name_is_drawn_and_starts_no_formula(name: str, recwarn: pytest.WarningsRecorder) -> None:
    with style.applied():
        figure = Figure()
        text = figure.text(0, 0, style.plain(name))
        figure.draw_without_rendering()
        shown, is_formula = text._preprocess_math(text.get_text())
    assert not is_formula
    assert shown == name.replace("\x00", "�")


def test_names_cut_to_the_same_text_are_told_apart() -> None:
    first, second = ("a" * 60 + middle + "b" * 60 for middle in "xy")
    labels = style.distinct_labels([first, second, "other"])
    assert len(set(labels)) == 3
    assert labels[2] == "other"


def test_few_short_names_stand_at_their_lines_and_long_ones_in_a_legend() -> None:
    study, trials, curves = synthetic.four_arms(2)
    figure = figures.loss_curves(study, trials, curves)
    assert figure is not None
    assert len(figure.legends) == 1
    short = {arm.name: f"arm {place}" for place, arm in enumerate(study.arms)}
    renamed = study.model_copy(
        update={
            "arms": [arm.model_copy(update={"name": short[arm.name]}) for arm in study.arms],
            "reference": short["baseline"],
        }
    )
    frames = (frame.assign(arm=frame["arm"].map(short)) for frame in (trials, curves))
    figure = figures.loss_curves(renamed, *frames)
    assert figure is not None
    assert not figure.legends
    figure.draw_without_rendering()
    labels = [text for text in figure.axes[0].texts if text.get_text()]
    assert sorted(text.get_text() for text in labels) == ["arm 0", "arm 1", "arm 2", "arm 3"]
    boxes = sorted((Text.get_window_extent(text) for text in labels), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in itertools.pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)
