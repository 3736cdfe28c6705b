"""Labels that fit, stay apart and are drawn as they are."""

from __future__ import annotations

import itertools
import re

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


@pytest.mark.parametrize(
    ("label", "width", "lines"),
    [
        ("DeepSight, future loss as published", 20, ["DeepSight, future", "loss as published"]),
        ("normalized_decay", 12, ["normalized_", "decay"]),
        ("contrastive(temperature=0.07)", 16, ["contrastive(", "temperature=", "0.07)"]),
        ("a" * 25, 10, ["a" * 10, "a" * 10, "a" * 5]),
        ("one two three four", 5, ["one", "two", "thre…"]),
        (r"aaaa\$bbbb", 5, ["aaaa", r"\$bbb", "b"]),
        ("", 5, [""]),
    ],
)
def test_long_names_are_broken_where_they_may_be(label: str, width: int, lines: list[str]) -> None:
    assert style.wrapped(label, width) == "\n".join(lines)


@given(st.text(alphabet="ab_$. (", max_size=60), st.integers(3, 20))
def test_wrapping_keeps_its_width_and_all_that_it_has_lines_for(text: str, width: int) -> None:
    lines = style.wrapped(style.plain(text), width, 99).split("\n")
    assert all(len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(style.plain(text).split())
    for shown in (*lines, *style.wrapped(style.plain(text), width, 2).split("\n")):
        assert re.fullmatch(r"([^$\\]|\\\$)*", shown)  # no dollar sign without its backslash, and the reverse


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
