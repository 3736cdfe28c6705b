"""The figures and tables of what probes found."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.probed import Probed
from ablations.stored import StoredStudy
from reports import figures
from reports.figures.catalogue import all_figures, probe_figures
from reports.figures.probe_future import MOST_PANELS, arms_of_parts
from reports.figures.probe_maps import merged_order
from reports.figures.style import arm_styles
from reports.future_tables import shown_distances
from reports.probe_tables import main_table, plain_table
from reports.probes import write_probes
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import drawn, text_problems
from tests.reports.pictures import of_bags, of_bits, of_losses
from tests.reports.probed import BASELINE_PLACES, PLACES, probed_of


def example() -> tuple[StoredStudy, Probed]:
    study = synthetic.four_arms()[0]
    return study, probed_of(study)


def test_each_arm_has_a_panel_of_means_over_its_seeds() -> None:
    study, found = example()
    states = found.frames["future", "states"]
    figure = drawn(figures.future_bits(*of_bits(synthetic.four_arms)))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [style.label for style in arm_styles(study).values()]
    for axes, arm in zip(panels, study.arms, strict=True):
        rows = states[(states["arm"] == arm.name) & (states["probe"] == "linear")]
        places = BASELINE_PLACES if arm is study.arms[-1] else PLACES
        assert [label.get_text() for label in axes.get_yticklabels()] == list(places)
        expected = [
            [rows[(rows["place"] == p) & (rows["ahead"] == k)]["bits"].mean() for k in range(1, 7)] for p in places
        ]
        assert np.asarray(axes.collections[0].get_array()) == pytest.approx(np.array(expected))
    # One scale for all: the same colour is the same number of bits.
    assert len({axes.collections[0].get_clim() for axes in panels}) == 1
    largest = states.loc[states["probe"] == "linear"].groupby(["arm", "place", "ahead"])["bits"].mean().abs().max()
    assert panels[0].collections[0].get_clim() == pytest.approx((-largest, largest))


def test_losses_are_drawn_with_intervals_beside_their_controls() -> None:
    study, found = example()
    left, right = drawn(figures.future_losses(*of_losses(synthetic.four_arms))).axes
    states = found.frames["future", "states"]
    for axes, place in ((left, "encoder"), (right, "decoder")):
        assert axes.get_title(loc="left") == place
        controls, arms = axes.lines[:3], axes.lines[3:]
        assert [float(np.mean(line.get_ydata())) for line in controls] == pytest.approx([4.8, 3.6 + 0.15 * 3.5, 4.6])
        assert len(arms) == len(study.arms)
        for arm, line, bars in zip(study.arms, arms, axes.collections, strict=True):
            rows = states[(states["arm"] == arm.name) & (states["probe"] == "linear") & (states["place"] == place)]
            means = rows.groupby("ahead")["cross_entropy"].mean()
            assert np.asarray(line.get_ydata()) == pytest.approx(means.to_numpy())
            first = bars.get_segments()[0]
            assert first[:, 1] == pytest.approx(t_interval(rows.loc[rows["ahead"] == 1, "cross_entropy"]))


def test_places_that_were_not_asked_are_not_drawn() -> None:
    states, controls, styles = of_losses(synthetic.four_arms)
    only = states[states["place"].isin(["bridge", "layer 2"])]
    figure = drawn(figures.future_losses(only, controls, styles))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bridge", "layer 2"]
    assert len(figure.axes[0].lines) == len(figure.axes[1].lines) - 1  # the last arm has no bridge
    assert figures.future_losses(states.iloc[:0], controls, styles) is None
    assert figures.future_bits(states.iloc[:0], styles, "linear", list(styles)) is None
    assert figures.bag_gains(of_bags(synthetic.four_arms)[0].iloc[:0], styles) is None


def test_bags_have_a_row_a_place_and_a_column_an_arm() -> None:
    study, _ = example()
    axes = drawn(figures.bag_gains(*of_bags(synthetic.four_arms))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(PLACES)
    cells = np.ma.filled(axes.collections[0].get_array(), np.nan)
    assert cells.shape == (len(PLACES), len(study.arms))
    assert np.isnan(cells).tolist() == [
        [place == "bridge" and arm is study.arms[-1] for arm in study.arms] for place in PLACES
    ]
    assert cells[0, 0] == pytest.approx(-0.01)


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.hostile])
def test_every_text_can_be_read(make: object) -> None:
    study = make()[0]  # type: ignore[operator]
    for named in probe_figures(probed_of(study), arm_styles(study)):
        assert text_problems(named.figure) == [], named.name


def test_the_page_has_them_where_trials_were_asked() -> None:
    study, trials, curves = synthetic.four_arms()
    without = [one.name for one in all_figures(study, trials, curves.iloc[:0])]
    found = [one.name for one in all_figures(study, trials, curves.iloc[:0], None, probed_of(study))]
    names = ["probe_future_linear", "probe_future_mlp", "probe_future_losses", "probe_future_bag"]
    assert [name for name in found if name not in without] == names
    linear = [one.name for one in all_figures(study, trials, curves.iloc[:0], None, probed_of(study, hidden=False))]
    assert "probe_future_mlp" not in linear
    assert {"probe_future_linear", "probe_future_losses"} <= set(linear)


def test_many_arms_stand_in_several_figures() -> None:
    study = synthetic.study_of({f"arm {at}": {} for at in range(MOST_PANELS + 3)}, "arm 0", 1)
    found = probed_of(study)
    parts = arms_of_parts(found.frames["future", "states"], arm_styles(study))
    assert [len(part) for part in parts] == [6, 5]
    assert list(itertools.chain(*parts)) == [arm.name for arm in study.arms]
    names = [one.name for one in itertools.islice(probe_figures(found, arm_styles(study)), 2)]
    assert names == ["probe_future_linear_1", "probe_future_linear_2"]


@given(st.lists(st.permutations(range(6)), min_size=1, max_size=4))
def test_places_of_several_arms_are_all_there_once(lists: list[list[int]]) -> None:
    texts = [[str(one) for one in names[: 3 + at]] for at, names in enumerate(lists)]
    merged = merged_order(texts)
    assert sorted(merged) == sorted(set(itertools.chain(*texts)))
    longest = max(texts, key=len)
    assert [name for name in merged if name in longest] == longest


def test_an_order_that_all_arms_share_is_kept() -> None:
    short, long = ["layer 1", "encoder", "layer 2"], ["layer 1", "encoder", "bridge", "layer 2", "layer 3"]
    assert merged_order([short, long]) == merged_order([long, short]) == long


def test_main_tables_are_means_over_seeds_with_the_best_in_bold() -> None:
    _, found = example()
    table = main_table("future", found)
    assert table is not None
    assert [column.title for column in table.columns] == ["arm", "place", *(f"{k} ahead" for k in range(1, 7))]
    assert len(table.rows) == 3 * len(PLACES) + len(BASELINE_PLACES)
    states = found.frames["future", "states"]
    rows = states[(states["probe"] == "linear") & (states["ahead"] == 1)]
    means = rows.groupby(["arm", "place"])["bits"].mean()
    for cells in table.rows:
        mean = means[(cells[0].text, cells[1].text)]
        assert cells[2].key == pytest.approx(mean)
        assert cells[2].strong == (mean == means.max())
    bag = main_table("future_bag", found)
    assert bag is not None
    assert [cells[1].text for cells in bag.rows if cells[4].strong] == ["decoder"]
    assert main_table("future", Probed()) is None
    assert shown_distances(list(range(1, 9))) == list(range(1, 9))
    assert shown_distances(list(range(1, 21))) == [1, 2, 4, 8, 16, 20]


def test_a_probe_that_nobody_knows_shows_its_first_table() -> None:
    frame = pd.DataFrame({"arm": ["a"] * 30, "seed": 0, "trial": "x", "what": "this", "much": np.linspace(0, 1, 30)})
    table = main_table("mine", Probed({("mine", "first"): frame, ("mine", "second"): frame.iloc[:1]}))
    assert table is not None
    assert table.name == "mine_first"
    assert [column.title for column in table.columns] == ["what", "much"]
    assert [cell.text for cell in table.rows[-1]] == ["this", "0.7931"]
    assert table.notes == ("6 further rows are in the file.",)
    missing = plain_table("x", "y", pd.DataFrame({"arm": ["a", "b"], "seed": 0, "trial": "x", "much": [None, 2.0]}))
    assert [[cell.text for cell in row] for row in missing.rows] == [["a", "–"], ["b", "2.0000"]]


def test_files_are_every_table_and_figure_and_the_same_each_time(tmp_path: Path) -> None:
    study = synthetic.study_of({"base": {}, "other": {}}, "base", 1)
    found = probed_of(study, hidden=False)
    first = write_probes(found, tmp_path / "a", study)
    second = write_probes(found, tmp_path / "b", study)
    assert [file.name for file in first] == [file.name for file in second]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
    names = {file.name for file in first}
    assert {"future_states.csv", "future_controls.csv", "future_bag_states.csv"} <= names
    assert {"probe_future_linear.png", "probe_future_linear.svg", "probe_future_bag.svg"} <= names
    read = pd.read_csv(tmp_path / "a" / "future_states.csv")
    assert read["bits"].tolist() == pytest.approx(found.frames["future", "states"]["bits"].tolist(), rel=1e-12)
