"""Marginal means, their table and figures, against means taken by hand and by statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from statsmodels.stats.anova import AnovaRM

from reports import figures
from reports.effects import effects, factor_effects
from reports.statistics import t_interval, within_intervals
from tests.reports import synthetic
from tests.reports.drawings import FACTORS, crossed, drawn


def test_a_marginal_mean_is_the_mean_over_the_arms_with_that_value() -> None:
    study, trials, _ = crossed()
    found = effects(study, trials)
    assert [(effect.factor, effect.value) for effect in found] == [
        (factor, value) for factor, values in FACTORS.items() for value in values
    ]
    for effect in found:
        rows = trials[trials[effect.factor] == effect.value]
        by_seed = rows.groupby("seed")["validation_loss"].mean()
        assert effect.losses == pytest.approx(by_seed.to_numpy(), rel=1e-12)
        assert effect.mean == pytest.approx(rows["validation_loss"].mean(), rel=1e-12)
        assert effect.interval == pytest.approx(t_interval(by_seed), rel=1e-9)
        first = trials[trials[effect.factor] == FACTORS[effect.factor][0]]
        difference = by_seed - first.groupby("seed")["validation_loss"].mean()
        assert effect.difference == pytest.approx(difference.mean(), abs=1e-12)
        assert effect.is_first == (effect.value == FACTORS[effect.factor][0])
        if not effect.is_first:
            assert effect.difference_interval == pytest.approx(t_interval(difference), rel=1e-9)


def test_the_interval_of_two_values_agrees_with_the_repeated_measures_anova_of_statsmodels() -> None:
    study, trials, _ = crossed()
    names = {factor: factor.rsplit(".", 1)[-1] for factor in FACTORS}
    rows = trials[trials["arm"] != "base"].astype({"validation_loss": float}).rename(columns=names)
    table = AnovaRM(rows, "validation_loss", "seed", within=list(names.values())).fit().anova_table
    effect = next(
        effect for effect in effects(study, trials) if effect.factor == "objective.distance" and not effect.is_first
    )
    differences = effect.losses - effect.first
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(len(differences)))
    assert t**2 == pytest.approx(table.loc["distance", "F Value"], rel=1e-6)


def test_only_what_is_complete_is_averaged() -> None:
    study, trials, _ = crossed()
    # One arm has nothing: its block is left out of both factors' means, and a failed seed leaves all of that seed out.
    empty, hurt = study.arms[1].name, study.arms[-1].name
    trials.loc[trials["arm"] == empty, ["status", "validation_loss"]] = ["pending", math.nan]
    trials.loc[(trials["arm"] == hurt) & (trials["seed"] == 2), ["status", "validation_loss"]] = ["failed", math.nan]
    found = {(effect.factor, effect.value): effect for effect in effects(study, trials)}
    assert found["objective.aggregator", "average"].blocks == 3
    assert found["objective.distance", "mse"].blocks == 5
    assert {len(effect.losses) for effect in found.values()} == {4}


def test_no_effects_without_a_grid() -> None:
    for study, trials, _ in (synthetic.four_arms(), synthetic.half_finished()):
        assert effects(study, trials) == []
        assert factor_effects(study, trials) is None
    study, trials, _ = crossed()
    assert effects(study, trials[trials["arm"] == "base"]) == []


def test_the_table_reads_as_the_effects() -> None:
    study, trials, _ = crossed()
    table = factor_effects(study, trials)
    assert table is not None
    found = effects(study, trials)
    assert table.data["mean"].tolist() == [effect.mean for effect in found]
    assert [row[1].text for row in table.rows] == ["average", "decay", "maximum", "mse", "cosine", "3", "11"]
    assert [row[5].text for row in table.rows if row[5].text == "–"] == ["–"] * len(FACTORS)
    assert table.rows[0][4].text.split(" ± ")[0] == f"{found[0].mean:.3f}"


def test_two_seeds_have_no_interval() -> None:
    study, trials, _ = crossed(2)
    assert all(math.isnan(effect.difference_interval[0]) for effect in effects(study, trials))
    assert figures.factor_effects(*crossed(2)) is not None


def test_the_figure_of_effects_shows_dots_intervals_and_seeds() -> None:
    study, trials, curves = crossed()
    (axes,) = drawn(figures.factor_effects(study, trials, curves)).axes
    found = effects(study, trials)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([effect.difference for effect in found])
    others = [effect for effect in found if not effect.is_first]
    intervals = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 1.6]
    assert intervals == [effect.difference_interval for effect in others]
    marks = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert np.array(marks) == pytest.approx(np.array([effect.losses - effect.first for effect in others]))
    assert {text.get_text() for text in axes.texts} == set(FACTORS)


def test_interactions_have_a_panel_a_pair_and_a_line_a_value() -> None:
    study, trials, curves = crossed()
    figure = drawn(figures.interactions(study, trials, curves))
    panels, keys = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_xlabel() for axes in panels] == [
        "objective.aggregator",
        "objective.aggregator",
        "objective.distance",
    ]
    for container, distance in zip(panels[0].containers, FACTORS["objective.distance"], strict=True):
        rows = trials[trials["objective.distance"] == distance]
        expected = [
            rows[rows["objective.aggregator"] == value]["validation_loss"].mean()
            for value in FACTORS["objective.aggregator"]
        ]
        assert list(container.lines[0].get_ydata()) == pytest.approx(expected, rel=1e-12)
    titles = [key.get_legend().get_title().get_text() for key in keys]
    assert titles == ["objective.distance", "objective.n", "objective.n"]
    assert figures.interactions(*synthetic.four_arms()) is None


@given(npst.arrays(np.float64, st.tuples(st.integers(3, 8), st.integers(2, 5)), elements=st.floats(-10, 10)))
def test_intervals_within_seeds_do_not_see_what_seeds_have_in_common(values: np.ndarray) -> None:
    low, high = within_intervals(values)
    moved_low, moved_high = within_intervals(values + np.arange(len(values))[:, None] * 1000)
    assert (high - low) == pytest.approx(moved_high - moved_low, abs=1e-9)
    assert (low + high) / 2 == pytest.approx(values.mean(axis=0), abs=1e-9)


def test_with_two_conditions_the_interval_is_that_of_their_difference_by_the_square_root_of_two() -> None:
    values = np.random.default_rng(3).normal(size=(6, 2))
    low, high = within_intervals(values)
    difference = t_interval(values[:, 0] - values[:, 1])
    assert high - low == pytest.approx([(difference[1] - difference[0]) / math.sqrt(2)] * 2, rel=1e-12)


def test_two_named_factors_have_a_heat_map_with_the_verdicts() -> None:
    study, trials, curves = crossed()
    assert figures.factor_pairs(study) == [("objective.aggregator", "objective.distance")]
    figure = drawn(figures.factor_pair(study, trials, curves, "objective.aggregator", "objective.distance"))
    panels = [axes for axes in figure.axes if axes.get_xlabel() == "distance"]
    assert [axes.get_title(loc="left") for axes in panels] == ["n 3", "n 11"]
    base = trials[trials["arm"] == "base"].set_index("seed")["validation_loss"]
    for axes, n in zip(panels, FACTORS["objective.n"], strict=True):
        expected = [
            (
                trials[trials["arm"] == f"{aggregator}, {distance}, {n}"].set_index("seed")["validation_loss"] - base
            ).mean()
            for aggregator in FACTORS["objective.aggregator"]
            for distance in FACTORS["objective.distance"]
        ]
        assert np.asarray(axes.collections[0].get_array()).ravel().tolist() == pytest.approx(expected, rel=1e-9)
        assert any("better" in text.get_text() for text in axes.texts)
    assert len({axes.collections[0].get_clim() for axes in panels}) == 1


def test_one_named_factor_is_no_pair() -> None:
    assert (
        figures.factor_pairs(crossed(factors={"objective.n": [3, 11], "objective.distance": ["mse", "cosine"]})[0])
        == []
    )
