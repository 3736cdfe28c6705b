"""The figures and tables of the plan's use, of attention by distance, and of losses by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablations.probed import Probed
from reports import figures
from reports.figures.attention_distance import EQUAL, shares_by_distance
from reports.figures.catalogue import all_figures, probe_figures
from reports.figures.probe_arms import parts_of
from reports.figures.probe_plan_use import readers_height, readers_in
from reports.figures.style import INK, arm_styles
from reports.probe_tables import main_table
from reports.probes import write_probes
from reports.statistics import t_interval
from reports.token_losses_table import class_name
from tests.reports import synthetic
from tests.reports.drawings import drawn, lines, small_grid, text_problems
from tests.reports.plan_probes import ADDED, CLASSES, COUNTS, POSITIONS, READERS, losses_of, use_of

STUDY = synthetic.four_arms()[0]
STYLES = arm_styles(STUDY)
ASKED = [arm.name for arm in STUDY.arms[1:]]
"""The first arm has no cross-attention."""


def test_lines_are_means_over_seeds_by_position_and_bands_their_intervals() -> None:
    positions = use_of(STUDY).tables("plan_use")["positions"]
    panels = drawn(figures.increase_by_position(positions, STYLES, ASKED)).axes
    panels = [axes for axes in panels if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [STYLES[arm].label for arm in ASKED]
    for axes, arm in zip(panels, ASKED, strict=True):
        found = [line for line in lines(axes, bold=True) if line.get_color() != INK]
        assert len(found) == len(axes.collections) == len(ADDED)
        for name, line, band in zip(ADDED, found, axes.collections, strict=True):
            rows = positions[
                (positions["arm"] == arm)
                & (positions["read_by"] == "cross_attention")
                & (positions["replaced_by"] == name)
            ]
            means = rows.groupby("first_position")["increase"].mean()
            assert np.asarray(line.get_ydata()) == pytest.approx(means.to_numpy())
            middles = [((first + 1) * (last + 1)) ** 0.5 for first, last in POSITIONS]
            assert np.asarray(line.get_xdata()) == pytest.approx(middles)
            corners = band.get_paths()[0].vertices
            at_start = corners[np.isclose(corners[:, 0], middles[0]), 1]
            first = rows.loc[rows["first_position"] == 0, "increase"]
            assert (at_start.min(), at_start.max()) == pytest.approx(t_interval(first))
    assert figures.increase_by_position(positions, STYLES, [STUDY.arms[0].name]) is None


def test_single_positions_of_a_task_stand_where_they_are() -> None:
    positions = use_of(STUDY, 2).tables("plan_use")["positions"]
    few = positions[positions["first_position"].isin([0, 1])]
    axes = drawn(figures.increase_by_position(few, STYLES, ASKED)).axes[0]
    line = axes.lines[1]
    assert list(line.get_xdata()) == [1, 2]
    assert line.get_marker() == "o"
    assert axes.get_xscale() == "linear"


def test_dots_stand_in_the_row_of_their_reader() -> None:
    increase = use_of(STUDY).tables("plan_use")["increase"]
    # An arm with one decoder layer beside arms with two.
    increase = increase[(increase["arm"] != ASKED[0]) | (increase["read_by"] != "decoder layer 2")]
    panels = [axes for axes in drawn(figures.increase_by_reader(increase, STYLES, ASKED)).axes if axes.axison]
    names = ["cross-attention", "decoder layer 1", "decoder layer 2", "bridge", "everything"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == names
    for axes, arm in zip(panels, ASKED, strict=True):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        own = increase[increase["arm"] == arm]
        means = own.groupby(["replaced_by", "read_by"])["increase"].mean()
        assert len(dots) == len(means) == (15 if arm != ASKED[0] else 12)
        found = {(round(float(dot.get_ydata()[0])), round(float(dot.get_xdata()[0]), 9)) for dot in dots}
        assert found == {
            (list(READERS).index(str(reader)), round(float(mean), 9)) for (_, reader), mean in means.items()
        }
        intervals = [line for line in axes.lines if line.get_marker() == "None" and line.get_color() != INK]
        assert len(intervals) == len(dots)


def test_attention_is_a_row_a_layer_and_one_for_equal_weights() -> None:
    attention = use_of(STUDY).tables("plan_use")["attention"]
    figure = drawn(figures.attention_by_distance(attention, STYLES, ASKED))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == 3
    for place, axes in enumerate(panels, start=1):
        rows = ["encoder 1", "encoder 2", "decoder 1 self", "decoder 1 cross", EQUAL]
        assert [text.get_text() for text in axes.get_yticklabels()] == rows
        cells = np.asarray(axes.collections[0].get_array())
        assert cells.sum(axis=1) == pytest.approx(np.ones(5))
        assert cells[:, 0] == pytest.approx(0.05 + 0.95 * 0.1 * place * np.array([1, 1, 1, 2, 0]))
    assert len({axes.collections[0].get_clim() for axes in panels}) == 1
    assert figures.attention_by_distance(attention, STYLES, [STUDY.arms[0].name]) is None


def test_equal_weights_have_no_row_where_layers_see_different_things() -> None:
    attention = use_of(STUDY, 1).tables("plan_use")["attention"]
    own = attention[attention["arm"] == ASKED[0]].copy()
    assert list(shares_by_distance(own).columns) == ["0", "1", "2+", "4+", "8+", "16+", "32+", "64+"]
    own.loc[own["attention"] == "cross", "uniform_share"] = 1 / 8
    assert EQUAL not in shares_by_distance(own).index
    beyond = own[(own["attention"] != "cross") | (own["first_distance"] < 64)]
    assert shares_by_distance(beyond).loc["decoder 1 cross", "64+"] == 0


def test_losses_by_class_stand_beside_the_n_gram_and_differences_below() -> None:
    tables = losses_of(STUDY).tables("token_losses")
    figure = drawn(figures.loss_by_class(tables, STYLES))
    top, other_top, bottom, _ = figure.axes
    dots = [line for line in top.lines if line.get_marker() == "o"]
    classes = [name for name, *_ in CLASSES]
    assert len(dots) == len(STUDY.arms) * len(classes)
    inferable = tables["inferable"].assign(loss=pd.to_numeric(tables["inferable"]["loss"]))
    means = inferable.groupby(["arm", "inferable_from"])["loss"].mean()
    for place, arm in enumerate(arm.name for arm in STUDY.arms):
        own = dots[place * len(classes) : (place + 1) * len(classes)]
        assert [line.get_ydata()[0] for line in own] == pytest.approx([means[arm, name] for name in classes])
        assert [round(float(line.get_xdata()[0])) for line in own] == list(range(len(classes)))
    names = ["nothing\n4 %", "last 1\n16 %", "last 2\n20 %", "last 3\n10 %", "none\n50 %"]
    assert [text.get_text() for text in bottom.get_xticklabels()] == names
    ngram = [float(line.get_segments()[0][0, 1]) for line in top.collections]
    assert ngram == pytest.approx([0.8 * loss for *_, loss in CLASSES])
    by_seed = inferable[inferable["inferable_from"] == "none"].pivot(index="seed", columns="arm", values="loss")
    apart = by_seed[ASKED[-1]] - by_seed[STUDY.reference]
    last = [line for line in bottom.lines if line.get_marker() == "o"][-1]
    assert last.get_ydata()[0] == pytest.approx(apart.mean())
    interval = [line for line in bottom.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2][-2]
    assert list(interval.get_ydata()) == pytest.approx(t_interval(apart))
    counts = [text.get_text().partition("\n")[0] for text in figure.axes[3].get_xticklabels()]
    assert counts == ["1+", "10+", "100+", "1 k+"]
    assert len(other_top.collections) == len(COUNTS)


def test_one_arm_has_no_differences_and_none_no_figure() -> None:
    tables = losses_of(STUDY).tables("token_losses")
    alone = {name: table[table["arm"] == ASKED[0]] for name, table in tables.items()}
    assert len(drawn(figures.loss_by_class(alone, STYLES)).axes) == 2
    assert figures.loss_by_class({name: table.iloc[:0] for name, table in tables.items()}, STYLES) is None


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.hostile])
def test_every_text_can_be_read(make: object) -> None:
    study = make()[0]  # type: ignore[operator]
    for found in (use_of(study), losses_of(study)):
        for one in probe_figures(found, arm_styles(study)):
            assert text_problems(one.figure) == [], one.name


def test_many_arms_and_deep_networks_have_room() -> None:
    study = small_grid()[0]
    (one,) = probe_figures(losses_of(study, 1), arm_styles(study))
    assert text_problems(one.figure) == []
    increase = use_of(STUDY, 1).frames["plan_use", "increase"]
    deep = pd.concat([increase.assign(read_by=f"decoder layer {layer}") for layer in range(1, 26)])
    height = readers_height(readers_in(deep))
    first, *others = (arms for *_, arms in parts_of(ASKED, height))
    assert [first, *others] == [ASKED[:2], ASKED[2:]]
    figure = drawn(figures.increase_by_reader(deep, STYLES, first))
    assert text_problems(figure) == []
    assert figure.get_figheight() < 9


def test_the_page_has_them_where_trials_were_asked() -> None:
    study, trials, curves = synthetic.four_arms()
    without = [one.name for one in all_figures(study, trials, curves.iloc[:0])]
    use, losses = use_of(study, 2), losses_of(study, 2)
    both = Probed({**use.frames, **losses.frames}, use.asked)
    found = [one.name for one in all_figures(study, trials, curves.iloc[:0], None, both)]
    expected = [
        "probe_plan_use_positions",
        "probe_plan_use_readers",
        "probe_attention_distance",
        "probe_token_losses",
    ]
    assert [name for name in found if name not in without] == expected


def test_many_arms_stand_in_several_figures() -> None:
    arms = [f"arm {place}" for place in range(11)]
    parts = list(parts_of(arms, 1.5))
    assert [(end, of) for end, of, _ in parts] == [("_1", ", part 1 of 2"), ("_2", ", part 2 of 2")]
    assert [arm for *_, part in parts for arm in part] == arms
    # A panel higher than a page stands beside one other.
    assert [len(part) for *_, part in parts_of(arms[:4], 9.0)] == [2, 2]
    assert [part for *_, part in parts_of([], 1.0)] == [[]]


def test_the_table_of_the_plan_is_means_over_seeds() -> None:
    found = use_of(STUDY, 5, task=True)
    table = main_table("plan_use", found)
    assert table is not None
    titles = [column.title for column in table.columns]
    assert titles[:5] == ["arm", "read by", "shuffled", "averaged", "other document"]
    assert titles[5:] == ["full path (%)", *(f"{name}: full path (%)" for name in titles[2:5])]
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        (arm, reader) for arm in ASKED for reader in ("cross-attention", "bridge", "everything")
    ]
    increase = found.frames["plan_use", "increase"]
    first = increase[
        (increase["arm"] == ASKED[0])
        & (increase["read_by"] == "cross_attention")
        & (increase["replaced_by"] == "averaged")
    ]["increase"]
    low, high = t_interval(first)
    assert table.rows[0][3].key == pytest.approx(first.mean())
    assert table.rows[0][3].text == f"{first.mean():.4f} ± {(high - low) / 2:.4f}"
    assert [cell.text for cell in table.rows[0][5:]] == ["90.0", "89.5", "88.8", "88.0"]
    assert "± is the half width of the 95 % t interval over seeds." in table.notes


def test_of_one_run_the_table_has_every_layer_and_its_own_error() -> None:
    study = synthetic.study_of({"base": {}, "run": {}}, "base", 1)
    table = main_table("plan_use", use_of(study, 1))
    assert table is not None
    assert [column.title for column in table.columns] == ["read by", "shuffled", "averaged", "other document"]
    assert len(table.rows) == len(READERS)
    assert table.rows[0][1].text.endswith(" ± 0.010")
    assert "± is the standard error over documents." in table.notes
    assert main_table("plan_use", Probed()) is None


def test_the_table_of_losses_has_the_n_gram_and_the_shares_below() -> None:
    found = losses_of(STUDY)
    table = main_table("token_losses", found)
    assert table is not None
    named = ["no token", "last 1 token", "last 2 tokens", "last 3 tokens", "none of them", "last 4 tokens"]
    assert [column.title for column in table.columns] == ["arm", "all tokens", *named]
    assert [row[0].text for row in table.rows] == [*STYLES, "n-gram", "share of tokens (%)"]
    inferable = found.frames["token_losses", "inferable"]
    own = inferable[(inferable["arm"] == ASKED[0]) & (inferable["inferable_from"] == "none")]["loss"]
    assert table.rows[1][6].key == pytest.approx(own.astype(float).mean())
    assert [cell.text for cell in table.rows[-2][1:]] == ["4.500", "1.600", "1.200", "0.960", "1.040", "4.640", "–"]
    assert [cell.text for cell in table.rows[-1][1:]] == ["100.0", "4.0", "16.0", "20.0", "10.0", "50.0", "0.0"]
    assert table.totals == 2
    assert class_name("last 2") == "last 2 tokens"


def test_files_are_every_table_and_figure_and_the_same_each_time(tmp_path: Path) -> None:
    study = synthetic.study_of({"base": {}, "other": {}}, "base", 1)
    found = Probed({**use_of(study, 1).frames, **losses_of(study, 1).frames}, use_of(study, 1).asked)
    first, second = (write_probes(found, tmp_path / name, study) for name in "ab")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
    names = {file.name for file in first}
    assert {"plan_use_increase.csv", "plan_use_attention.csv", "token_losses_inferable.csv"} <= names
    assert {"probe_attention_distance.svg", "probe_plan_use_positions.png", "probe_token_losses.png"} <= names
