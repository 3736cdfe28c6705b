"""How many seeds solve a task, when, and beside the reference: against other libraries, naive loops and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.frames import complete_curves, complete_trials
from reports.statistics import t_interval, t_intervals
from reports.success import Success, compare_successes, exact_test, smallest_p, successes, wilson_interval
from reports.task_results import (
    SOLVED,
    last_accuracies,
    last_evaluations,
    measured_tasks,
    measured_values,
    step_of_solving,
    task_title,
)
from tests.reports import synthetic

Frames = tuple[StoredStudy, pd.DataFrame, pd.DataFrame]
counts = st.integers(1, 40).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
accuracies = st.lists(st.sampled_from([0.2, 0.9499999, 0.95, 0.97, 1.0, math.nan]), min_size=1, max_size=8)


def found_in(frames: Frames, task: str = "full_path") -> dict[str, Success]:
    study, trials, curves = frames
    return successes(study, complete_trials(study, trials), complete_curves(study, curves), task)


def ending_at(ends: dict[str, Sequence[float]], seeds: int) -> Frames:
    """A study whose arms, the first of them the reference, end with these accuracies."""
    study = synthetic.study_of(
        {name: {"objective.n": place} for place, name in enumerate(ends)}, next(iter(ends)), seeds
    )
    losses = {name: synthetic.seed_losses(4, 0.01 * place, seeds) for place, name in enumerate(ends)}
    trials = synthetic.trials_of(study, losses)
    curves = synthetic.curves_of(study, trials)
    last = curves["step"] == curves["step"].max()
    values = [ends[row.arm][row.seed] for row in curves.itertuples()]
    return study, trials, curves.assign(**{"task:full_path/accuracy": np.where(last, values, 0.1)})


@given(counts)
def test_the_interval_of_a_count_is_that_of_scipy(count: tuple[int, int]) -> None:
    expected = stats.binomtest(*count).proportion_ci(method="wilson")
    assert wilson_interval(*count) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(accuracies)
def test_the_step_of_solving_is_that_of_a_naive_loop(values: list[float]) -> None:
    rows = pd.DataFrame({"step": 10.0 * np.arange(len(values)), "accuracy": values})
    known = [(step, value) for step, value in zip(rows["step"], values, strict=True) if not math.isnan(value)]
    expected = math.nan
    for place, (step, _) in enumerate(known):
        if all(value >= SOLVED for _, value in known[place:]):
            expected = step
            break
    assert step_of_solving(rows.sample(frac=1, random_state=1), "accuracy") == pytest.approx(expected, nan_ok=True)


def test_a_curve_that_falls_below_again_has_not_solved_before_that() -> None:
    rows = pd.DataFrame({"step": [0, 10, 20, 30, 40], "accuracy": [0.2, 1.0, 0.3, 0.96, 0.99]})
    assert step_of_solving(rows, "accuracy") == 30
    assert math.isnan(step_of_solving(rows.assign(accuracy=[0.2, 1.0, 1.0, 1.0, 0.94]), "accuracy"))


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_exact_test_counts_all_ways_in_which_the_pairs_may_fall(arm: int, reference: int) -> None:
    total = arm + reference
    ways = [math.comb(total, place) for place in range(total + 1)]
    expected = sum(way for way in ways if way <= ways[arm]) / 2**total
    assert exact_test(arm, reference) == pytest.approx(expected)
    assert exact_test(arm, reference) >= smallest_p(total) - 1e-12


def test_five_pairs_cannot_reach_five_per_cent_and_six_can() -> None:
    assert [smallest_p(pairs) for pairs in (1, 5, 6)] == [1.0, 0.0625, 0.03125]
    study, trials, curves = ending_at({"base": [0.1] * 5, "arm": [1.0] * 5}, 5)
    assert math.isnan(compare_successes(study, found_in((study, trials, curves)), compare(study, trials))["arm"].p)


def test_an_arm_is_what_its_finished_trials_reached_at_the_end() -> None:
    frames = synthetic.planning()
    found = found_in(frames)
    ends = frames[2][frames[2]["step"] == 300]
    for arm, success in found.items():
        values = ends.loc[ends["arm"] == arm, "task:full_path/accuracy"].to_numpy()
        low, high = t_interval(values)
        assert success.seeds == (0, 1, 2, 3, 4)
        assert success.mean == pytest.approx(values.mean())
        assert success.half_width == pytest.approx((high - low) / 2)
        assert success.chance == pytest.approx(0.2)
    assert [success.solved for success in found.values()] == [0, 5, 2]
    assert found["teacherless"].steps.tolist() == [80, 120, 120, 160, 40]
    assert [success.median_steps for success in found.values()] == pytest.approx([math.nan, 120, 260], nan_ok=True)


def test_below_three_seeds_there_are_values_only() -> None:
    for seeds in (1, 2):
        for success in found_in(synthetic.planning(seeds)).values():
            assert math.isnan(success.half_width)
            assert all(math.isnan(end) for end in success.interval)
            assert math.isfinite(success.mean)


def test_failed_running_and_cut_trials_count_for_nothing() -> None:
    study, trials, curves = synthetic.planning()
    trials["step"] = 300.0
    trials.loc[0, "status"], trials.loc[1, "status"] = "failed", "running"
    cut = (curves["trial"] == trials.loc[2, "trial"]) & (curves["step"] > 200)
    curves = curves[~cut]
    found = found_in((study, trials, curves))
    assert found["next token"].seeds == (3, 4)
    assert len(last_evaluations(complete_trials(study, trials), complete_curves(study, curves))) == 12
    whole = compare_successes(study, found, compare(study, trials))
    assert whole["teacherless"].seeds == (3, 4)
    assert math.isnan(whole["teacherless"].interval[0])


def test_pairs_are_of_one_seed() -> None:
    ends = {"base": [0.1, 1.0, 0.2, 0.97, 0.3, math.nan], "arm": [math.nan, 0.1, 0.96, 0.98, 0.4, 1.0]}
    study, trials, curves = ending_at(ends, 6)
    (difference,) = compare_successes(study, found_in((study, trials, curves)), compare(study, trials)).values()
    assert difference.seeds == (1, 2, 3, 4)
    expected = np.subtract(ends["arm"][1:5], ends["base"][1:5])
    assert difference.differences == pytest.approx(expected)
    assert (difference.mean, *difference.interval) == pytest.approx((expected.mean(), *t_interval(expected)))
    assert (difference.arm_only, difference.reference_only) == (1, 1)


def test_p_values_are_adjusted_over_the_declared_family_and_the_control_stands_alone() -> None:
    seeds = 8
    ends = {"base": [0.1] * seeds, "all": [1.0] * seeds, "six": [1.0] * 6 + [0.1] * 2, "inert": [0.1] * seeds}
    study, trials, curves = ending_at(ends | {"failed": [1.0] * seeds}, seeds)
    trials.loc[trials["arm"] == "failed", ["status", "validation_loss"]] = "failed", math.nan
    arms = [arm.model_copy(update={"control": arm.name == "inert"}) for arm in study.arms]
    study = study.model_copy(update={"arms": arms})
    found = compare_successes(study, found_in((study, trials, curves)), compare(study, trials))
    assert [found[name].p for name in ("all", "six", "inert")] == pytest.approx([2 / 256, 2 / 64, 1.0])
    assert [found[name].p_adjusted for name in ("all", "six")] == pytest.approx([3 * 2 / 256, 2 * 2 / 64])
    assert math.isnan(found["failed"].p_adjusted)
    assert {name: one.family for name, one in found.items()} == {"all": 3, "six": 3, "inert": 1, "failed": 3}


def test_repetitions_of_one_run_have_no_p() -> None:
    study, trials, curves = ending_at({"base": [0.1] * 6, "arm": [1.0] * 6}, 6)
    trials["validation_loss"] = np.where(trials["arm"] == "arm", 3.9, 4.0)
    (difference,) = compare_successes(study, found_in((study, trials, curves)), compare(study, trials)).values()
    assert math.isnan(difference.p)
    assert math.isnan(difference.p_sign_flip)


def test_the_main_task_is_the_first_that_was_measured() -> None:
    _, _, curves = synthetic.planning()
    assert measured_tasks(curves) == ["full_path", "first_hop", "full_path_forced"]
    assert measured_values(curves) == ["effective_rank"]
    assert measured_tasks(curves.assign(**{"task:full_path/accuracy": math.nan}))[0] == "first_hop"


def test_names_are_read_as_words() -> None:
    names = {name: task_title(name) for name in ("full_path", "full_path_forced", "token_3", "path-star")}
    assert list(names.values()) == ["full path", "full path, teacher-forced", "token 3", "path-star"]


def test_accuracies_that_are_no_numbers_are_left_out() -> None:
    study, trials, curves = synthetic.planning()
    curves["task:full_path/accuracy"] = curves["task:full_path/accuracy"].astype(object)
    curves.loc[curves["step"] == 300, "task:full_path/accuracy"] = [None, math.inf, "0.5", *[0.3] * 12]
    rows = last_accuracies(complete_trials(study, trials), complete_curves(study, curves))
    first = rows[(rows["task"] == "full_path") & (rows["arm"] == "next token")]
    assert first["accuracy"].tolist() == [0.5, 0.3, 0.3]


def misses(rates: tuple[float, float], pairs: int) -> float:
    """The share of studies whose t interval misses the true difference, if seeds solve the task at two rates.

    Each outcome of all pairs is weighed by its probability; a little noise within the heaps is drawn once.
    """
    noise = np.random.default_rng(5).normal(0, 0.004, (2, pairs))
    outcomes = np.array(list(itertools.product((0.0, 1.0), repeat=2 * pairs))).reshape(-1, 2, pairs)
    chances = np.array(rates)[:, None]
    weights = np.where(outcomes == 1, chances, 1 - chances).prod(axis=(1, 2))
    ends = 0.2 + 0.79 * outcomes + noise
    low, high = t_intervals(ends[:, 0] - ends[:, 1])
    truth = 0.79 * (rates[0] - rates[1])
    return float(weights[(truth < low) | (truth > high)].sum())


def test_the_t_interval_misses_in_two_heaps_as_often_as_the_note_says() -> None:
    assert misses((0.8, 0.2), 5) == pytest.approx(0.11, abs=0.01)
    assert misses((0.9, 0.1), 5) == pytest.approx(0.35, abs=0.01)
    assert max(misses((rate, rate), 5) for rate in np.linspace(0.05, 0.95, 19)) < 0.03
