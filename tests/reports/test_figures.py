"""Figures show what they should: the artists and the data in them."""

from __future__ import annotations

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from reports import figures
from reports.comparisons import compare
from reports.figures.catalogue import all_figures
from reports.figures.style import COLUMN_WIDTH, INK, arm_styles
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import attached, drawn, drawn_once, lines, one_sweep, small_grid, text_problems

ALL = [
    figures.loss_curves,
    figures.final_curves,
    figures.paired_differences,
    figures.horizon_sweep,
    figures.layer_splits,
    figures.objective_diagnostics,
]
SWEEPS = (figures.horizon_sweep, figures.layer_splits)


STUDIES = [synthetic.four_arms, small_grid, synthetic.half_finished, synthetic.hostile]


def test_loss_curves_have_a_thin_line_a_trial_and_a_bold_one_an_arm() -> None:
    study, trials, curves = synthetic.four_arms()
    (axes,) = drawn(figures.loss_curves(study, trials, curves)).axes
    assert len(lines(axes, bold=False)) == 20
    means = lines(axes, bold=True)
    styles = arm_styles(study)
    assert [line.get_color() for line in means] == [style.colour for style in styles.values()]
    for arm, line in zip(styles, means, strict=True):
        expected = curves[curves["arm"] == arm].groupby("tokens")["validation_loss"].mean()
        assert np.asarray(line.get_xdata()) == pytest.approx(expected.index.to_numpy())
        assert np.asarray(line.get_ydata()) == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_the_band_is_the_t_interval() -> None:
    study, trials, curves = synthetic.four_arms()
    (axes,) = drawn(figures.loss_curves(study, trials, curves)).axes
    bands = [item for item in axes.collections if isinstance(item, PolyCollection)]
    assert len(bands) == 4
    last = curves[(curves["arm"] == "baseline") & (curves["step"] == 300)]["validation_loss"]
    corners = bands[0].get_paths()[0].vertices
    at_end = corners[np.isclose(corners[:, 0], corners[:, 0].max()), 1]
    assert (at_end.min(), at_end.max()) == pytest.approx(t_interval(last), rel=1e-12)


def test_two_seeds_have_no_band() -> None:
    study, trials, curves = synthetic.four_arms(2)
    (axes,) = drawn(figures.loss_curves(study, trials, curves)).axes
    for band in axes.collections:
        low, high = band.get_datalim(axes.transData).intervaly
        means = [line.get_ydata() for line in lines(axes, bold=True)]
        assert any((low, high) == pytest.approx((min(mean), max(mean))) for mean in means)


def test_the_last_fifth_is_the_last_fifth() -> None:
    study, trials, curves = synthetic.four_arms()
    (axes,) = drawn(figures.final_curves(study, trials, curves)).axes
    assert axes.get_xlim() == (240 * 4096, 300 * 4096)


def test_bands_are_not_cut_off() -> None:
    study, trials, curves = synthetic.half_finished()
    (axes,) = drawn(figures.final_curves(study, trials, curves)).axes
    low, high = axes.get_ylim()
    for band in axes.collections:
        assert low < band.get_datalim(axes.transData).y0
        assert band.get_datalim(axes.transData).y1 < high


def test_a_diverged_trial_is_crossed_out_and_does_not_set_the_scale() -> None:
    study, trials, curves = synthetic.half_finished()
    (axes,) = drawn(figures.loss_curves(study, trials, curves)).axes
    assert axes.get_ylim()[1] < 10
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(crosses) == 1
    assert crosses[0].get_ydata()[0] <= axes.get_ylim()[1]


def test_a_mean_is_over_finished_trials_only() -> None:
    study, trials, curves = synthetic.half_finished()
    (axes,) = drawn(figures.loss_curves(study, trials, curves)).axes
    arm = study.arms[2].name
    done = trials[(trials["arm"] == arm) & (trials["status"] == "done")]["trial"]
    expected = curves[curves["trial"].isin(done)].groupby("tokens")["validation_loss"].mean()
    assert np.asarray(lines(axes, bold=True)[2].get_ydata()) == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_many_arms_are_drawn_by_their_means() -> None:
    (axes,) = next(item.figure for item in drawn_once(small_grid) if item.name == "loss_curves").axes
    assert len(lines(axes, bold=True)) == 20
    assert not lines(axes, bold=False)
    assert not axes.collections


def test_paired_differences_show_mean_interval_and_every_seed() -> None:
    study, trials, curves = synthetic.four_arms()
    (axes,) = drawn(figures.paired_differences(study, trials, curves)).axes
    comparisons = list(compare(study, trials).values())
    seeds = [line for line in axes.lines if line.get_marker() == "|"]
    intervals = [line for line in axes.lines if line.get_linewidth() > 1.5 and line.get_marker() == "None"]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in seeds] == [list(c.pairs.differences) for c in comparisons]
    assert [list(line.get_xdata()) for line in intervals] == [[c.low, c.high] for c in comparisons]
    assert [line.get_xdata()[0] for line in dots] == [c.mean for c in comparisons]
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == [c.arm for c in comparisons]
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
    assert axes.get_xlabel().startswith("paired difference")
    (margin,) = axes.patches
    assert margin.get_window_extent().width > 0


def test_unproven_pairs_are_not_called_paired() -> None:
    study, trials, curves = synthetic.four_arms()
    trials["batch_digest"] = None
    (axes,) = drawn(figures.paired_differences(study, trials, curves)).axes
    assert axes.get_xlabel().startswith("difference by seed")


def test_the_horizon_sweep_is_ordered_and_has_the_reference_as_a_band() -> None:
    study, trials, curves = one_sweep()
    (axes,) = drawn(figures.horizon_sweep(study, trials, curves)).axes
    (container,) = axes.containers
    line = container.lines[0]
    expected = [trials[trials["arm"] == f"n={n}"]["validation_loss"].mean() for n in (3, 11, 26)]
    assert list(line.get_xdata()) == [3, 11, 26]
    assert list(line.get_ydata()) == pytest.approx(expected, rel=1e-12)
    (band,) = axes.patches
    reference = trials[trials["arm"] == "base"]["validation_loss"].astype(float)
    corners = band.get_extents().transformed(axes.transData.inverted())
    assert (corners.y0, corners.y1) == pytest.approx(t_interval(reference), rel=1e-9)
    assert len(lines(axes, bold=False)) == 5
    assert [int(tick) for tick in axes.get_xticks()] == [3, 11, 26]


def test_a_grid_has_one_sweep_a_combination() -> None:
    (axes,) = drawn(figures.horizon_sweep(*small_grid())).axes
    assert len(axes.containers) == 6


@pytest.mark.parametrize("figure", SWEEPS)
def test_no_sweep_without_two_values(figure: Callable[..., Figure | None]) -> None:
    assert figure(*synthetic.four_arms()) is None


def test_layer_splits_show_the_difference_of_every_cell() -> None:
    study, trials, curves = synthetic.grid()
    figure = drawn(figures.layer_splits(study, trials, curves))
    axes = figure.axes[0]
    comparisons = compare(study, trials)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1 + 3", "2 + 2", "3 + 1"]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[0] == "n 3,\naggregator average"
    cells = np.asarray(axes.collections[0].get_array()).reshape(6, 3)
    assert cells[0, 1] == pytest.approx(comparisons["n=3 layers=[2, 2] aggregator=average"].mean, rel=1e-12)
    texts = [text.get_text() for text in axes.texts]
    better = sum(comparison.verdict == "better" for comparison in comparisons.values())
    assert sum(text.endswith("better") for text in texts) == better > 0


def test_layer_splits_alone_are_encoder_against_decoder() -> None:
    arms = {f"{split}": {"model.layers": split} for split in ([1, 1], [1, 2], [2, 1])}
    study = synthetic.study_of(arms, "[1, 1]", 3)
    trials = synthetic.trials_of(study, {name: synthetic.seed_losses(4, 0.01 * len(name), 3) for name in arms})
    figure = drawn(figures.layer_splits(study, trials, pd.DataFrame()))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("decoder layers", "encoder layers")
    assert np.isnan(np.ma.filled(axes.collections[0].get_array().astype(float), np.nan)).sum() == 1
    assert "reference" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("make", STUDIES)
def test_an_arm_has_one_colour_everywhere_and_figures_have_two_widths(make: Callable[[], tuple]) -> None:  # type: ignore[type-arg]
    study, _trials, _curves = make()
    styles = arm_styles(study)
    assert styles[study.reference].colour == INK
    looks = [(style.colour, style.dashes) for style in styles.values()]
    assert len(set(map(str, looks))) == len(looks)
    assert len({style.label for style in styles.values()}) == len(looks)
    for named in drawn_once(make):
        allowed = {style.colour for style in styles.values()} | {INK}
        for axes in named.figure.axes:
            assert {line.get_color() for line in lines(axes, bold=True)} <= allowed
        assert named.figure.get_figwidth() in (COLUMN_WIDTH, 6.75)


@pytest.mark.parametrize("make", [*STUDIES, attached])
def test_every_text_can_be_read(make: Callable[[], tuple]) -> None:  # type: ignore[type-arg]
    assert {named.name: text_problems(named.figure) for named in drawn_once(make)} == {
        named.name: [] for named in drawn_once(make)
    }


@pytest.mark.parametrize("figure", ALL)
def test_nothing_to_show_is_none(figure: Callable[..., Figure | None]) -> None:
    study, trials, _ = synthetic.four_arms()
    failed = trials.assign(status="failed", validation_loss=math.nan)
    for frame in (pd.DataFrame(), failed):
        assert figure(study, frame, pd.DataFrame()) is None


@pytest.mark.parametrize("figure", ALL)
def test_nans_anywhere_do_not_crash(figure: Callable[..., Figure | None]) -> None:
    study, trials, curves = small_grid() if figure in SWEEPS else synthetic.four_arms(2)
    generator = np.random.default_rng(1)
    holes = curves.copy()
    for column in [column for column in curves if "loss" in column or "/" in column]:
        holes.loc[generator.uniform(size=len(curves)) < 0.3, column] = math.nan
    figure(study, trials, holes)
    nothing = curves.assign(validation_loss=math.nan, tokens=math.nan)
    figure(study, trials.assign(validation_loss=math.nan), nothing)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_single_seed_is_drawn(seeds: int) -> None:
    study, trials, curves = synthetic.four_arms(seeds)
    (axes,) = drawn(figures.paired_differences(study, trials, curves)).axes
    assert not [line for line in axes.lines if line.get_linewidth() > 1.5 and line.get_marker() == "None"]
    assert len(lines(drawn(figures.loss_curves(study, trials, curves)).axes[0], bold=True)) == 4


def test_drawing_leaves_no_global_state() -> None:
    before = dict(plt.rcParams)
    list(all_figures(*one_sweep(2)))
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before
