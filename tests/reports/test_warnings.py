"""Each warning appears where it must, says the numbers, and is absent otherwise."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from ablations.stored import StoredStudy
from reports.collapse import State, symptoms
from reports.comparisons import compare
from reports.warnings import study_warnings
from tests.reports import synthetic


def warnings_of(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame | None = None) -> dict[str, str]:
    curves = pd.DataFrame() if curves is None else curves
    found = study_warnings(study, trials, curves, compare(study, trials))
    return {warning.kind: warning.text for warning in found}


def test_a_clean_study_has_none() -> None:
    study, trials, curves = synthetic.four_arms()
    healthy = curves.drop(columns=[column for column in curves if "/" in column])
    assert warnings_of(study, trials, healthy) == {}


def test_failed_pairing_names_the_arm_and_the_shares() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[(trials["arm"] == study.arms[1].name) & (trials["seed"] < 2), "batch_digest"] = "another"
    text = warnings_of(study, trials)["pairing"]
    assert "for “DeepSight without objective” (the same batches in the same order in 3 of 5 pairs)." in text
    assert "not called paired" in text


def test_identical_arms_are_named_even_beside_the_reference() -> None:
    study, trials, _ = synthetic.four_arms()
    first, second = study.arms[1].name, study.arms[2].name
    same = trials.loc[trials["arm"] == first, "validation_loss"].to_numpy()
    trials.loc[trials["arm"] == second, "validation_loss"] = same
    assert warnings_of(study, trials)["identical"] == (
        f"“{first}” and “{second}” have bit-equal validation losses in all 5 finished seeds: "
        "the knob between them does nothing."
    )


def test_the_collapse_of_the_published_objective_is_said_with_its_numbers() -> None:
    study, trials, curves = synthetic.four_arms()
    text = warnings_of(study, trials, curves)["collapse"]
    assert text.startswith(
        "In “DeepSight, future loss as published” the objective future_context collapsed in 5 of 5 trials: "
        "the mean |gain| of the prediction's norm fell from "
    )
    assert "the mean |gain| of the target's norm fell from" in text
    assert "; its loss went from 1.7 to 0.0016. " in text
    assert "without gains" not in text


def test_many_collapsed_arms_share_a_sentence() -> None:
    study, trials, curves = synthetic.grid()
    found = study_warnings(study, trials, curves, compare(study, trials))
    texts = [warning.text for warning in found if warning.kind == "collapse"]
    assert len(texts) == 1
    assert "and 15 more (18 arms) the objective future_context collapsed" in texts[0]


def two_arms() -> tuple[StoredStudy, pd.DataFrame]:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 1}}, "reference", 3)
    return study, synthetic.trials_of(study, {"reference": [4.0, 4.1, 4.2], "arm": [4.0, 4.1, 4.3]})


def diagnostic(metric: str, values: list[float]) -> pd.DataFrame:
    """Curves of the three trials of `arm`, which all record these values."""
    study, _ = two_arms()
    return pd.DataFrame(
        [
            {"trial": trial, "arm": "arm", "seed": seed, "step": step, f"plug/{metric}": value}
            for seed, trial in study.arm("arm").trials.items()
            for step, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("metric", "values", "state"),
    [
        ("prediction_gain", [1.0, 0.8, 0.32], State.COLLAPSED),
        ("prediction_gain", [1.0, 0.34], State.SHRINKING),
        ("prediction_gain", [1.0, 0.7], None),
        ("prediction_gain", [1.0, math.nan, 0.2], State.COLLAPSED),
        ("information_gain", [1.0, 0.1], None),
        ("target_variance", [2.0, 0.019], State.COLLAPSED),
        ("target_variance", [2.0, 0.021], None),
        ("target_smallest_variance", [2.0, 0.001], None),
        ("target_effective_rank", [30.0, 1.9], State.COLLAPSED),
        ("target_effective_rank", [30.0, 2.1], None),
        ("target_mean_cosine", [0.2, 0.991], State.COLLAPSED),
        ("target_mean_cosine", [0.998, 0.999], State.COLLAPSED),
        ("prediction_mean_cosine", [0.2, 0.98], None),
        ("prediction_mean_cosine", [0.999, 0.9], None),
        ("loss_over_trivial", [2.1, 0.99], State.TRIVIAL),
        ("loss_over_trivial", [2.1, 1.4], State.TRIVIAL),
        ("loss_over_trivial", [2.1, 0.97], None),
        ("loss_over_trivial", [1.0, 0.5], None),
        ("gradient_share", [math.nan, 0.4, 0.009], State.IDLE),
        ("gradient_share", [math.nan, 0.001, 0.02], None),
        ("gradient_cosine", [0.4, 0.0], None),
        ("loss", [1.0, 1e-9], None),
        ("prediction_gain", [0.1], None),
        ("gradient_share", [0.001], None),
        ("prediction_gain", [math.nan, math.nan], None),
    ],
)
def test_thresholds_of_symptoms(metric: str, values: list[float], state: State | None) -> None:
    found = symptoms(*two_arms(), diagnostic(metric, values))
    assert [symptom.state for symptom in found] == ([] if state is None else [state])
    if found:
        assert (found[0].objective, found[0].metric, found[0].trials, found[0].of) == ("plug", metric, 3, 3)


def test_one_trial_of_three_is_no_symptom_of_the_arm() -> None:
    curves = diagnostic("prediction_gain", [1.0, 0.1])
    curves.loc[(curves["seed"] != 0) & (curves["step"] == 1), "plug/prediction_gain"] = 1.0
    assert symptoms(*two_arms(), curves) == []


@pytest.mark.parametrize(
    ("metric", "values", "early"),
    [("prediction_gain", [1.0, 0.1], True), ("loss_over_trivial", [2.0, 1.0], False),
     ("gradient_share", [0.5, 0.001], False)],
)  # fmt: skip
def test_what_only_the_end_shows_is_not_said_of_a_running_trial(metric: str, values: list[float], early: bool) -> None:
    study, trials = two_arms()
    assert bool(symptoms(study, trials.assign(status="running"), diagnostic(metric, values))) == early


@pytest.mark.parametrize(("label", "scheduled"), [("plug", True), ("plug_2", True), ("plug_two", False)])
def test_a_share_that_falls_by_its_schedule_is_no_symptom(label: str, scheduled: bool) -> None:
    study, trials = two_arms()
    schedule = {"start": 1.0, "schedule": "linear_decay", "share": 1.0}
    config = {"objective": [{"name": "plug", "coefficient": schedule}, {"name": "plug_two", "coefficient": 1.0}]}
    arms = [study.arms[0], study.arms[1].model_copy(update={"config": config})]
    study = study.model_copy(update={"arms": arms})
    curves = diagnostic("gradient_share", [0.5, 0.001])
    curves = curves.rename(columns={"plug/gradient_share": f"{label}/gradient_share"})
    assert bool(symptoms(study, trials, curves)) != scheduled


@pytest.mark.parametrize(
    ("metric", "values", "kind", "words"),
    [
        (
            "target_mean_cosine", [0.24, 0.997], "collapse",
            "collapsed in 3 of 3 trials: the mean cosine of the target rose from 0.24 to 0.997, so that all its "
            "vectors point about the same way.",
        ),
        (
            "loss_over_trivial", [2.13, 1.01], "objective",
            "has learned nothing that a constant answer does not say in 3 of 3 trials: its loss is 1.01 times that of "
            "a constant answer (2.13 times at the start).",
        ),
        (
            "gradient_share", [0.031, 0.0042], "objective",
            "hardly moves the network in 3 of 3 trials: its share of the gradient was 0.031 at the start and 0.0042 at "
            "the end.",
        ),
    ],
)  # fmt: skip
def test_an_objective_that_does_not_teach_is_said_in_words(
    metric: str, values: list[float], kind: str, words: str
) -> None:
    study, trials = two_arms()
    text = warnings_of(study, trials, diagnostic(metric, values))[kind]
    assert text.startswith(f"In “arm” the objective plug {words}")


def test_failures_are_counted_with_the_pairs_they_took() -> None:
    study, trials, _ = synthetic.four_arms()
    reference_seed = (trials["arm"] == "baseline") & (trials["seed"] == 1)
    arm_seed = (trials["arm"] == study.arms[2].name) & (trials["seed"] == 4)
    trials.loc[reference_seed | arm_seed, ["status", "failure"]] = ["failed", "diverged"]
    assert warnings_of(study, trials)["failed"] == (
        "2 trials of 20 failed: “baseline” (1 diverged; seed 1) and “DeepSight, future loss as published” "
        "(1 diverged; seed 4). 4 pairs were removed with them; nothing is imputed."
    )


def test_a_half_finished_study_says_what_is_missing() -> None:
    study, trials, curves = synthetic.half_finished()
    found = warnings_of(study, trials, curves)
    assert found["unfinished"].startswith(
        "The study is not finished: 9 of 20 trials done, 1 running and 9 not started. Missing are trials of “baseline”"
    )
    assert "(3 pairs)" in found["seeds"]


def test_a_missing_reference_is_said() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[trials["arm"] == "baseline", "status"] = "pending"
    assert "The reference “baseline” has no finished trial" in warnings_of(study, trials)["unfinished"]


@pytest.mark.parametrize(("seeds", "words"), [(1, "only values are shown"), (3, "what follows is exploratory")])
def test_too_few_seeds(seeds: int, words: str) -> None:
    study, trials, _ = synthetic.four_arms(seeds)
    text = warnings_of(study, trials)["seeds"]
    assert text.startswith(f"Planned with {seeds} seed")
    assert words in text


def test_a_seed_that_reaches_nothing_is_said() -> None:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 1}}, "reference")
    trials = synthetic.trials_of(study, {"reference": [4.0] * 5, "arm": [3.9] * 5})
    assert "the seed does not reach the run" in warnings_of(study, trials)["seeds"]


def test_a_constant_difference_is_said() -> None:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 1}}, "reference")
    losses = [4.0, 4.25, 4.5, 3.75, 4.125]
    trials = synthetic.trials_of(study, {"reference": losses, "arm": [loss - 0.5 for loss in losses]})
    assert "the same in every seed, to the last bit" in warnings_of(study, trials)["seeds"]


def test_unequal_budgets_and_sizes_are_said() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[trials["arm"] == "baseline", "tokens"] = 2e6
    larger = study.arms[1].model_copy(update={"inference_parameters": 1_500_000})
    study = study.model_copy(update={"arms": [study.arms[0], larger, *study.arms[2:]]})
    found = warnings_of(study, trials)
    assert "on 1.23 M, “baseline” on 2 M." in found["budget"]
    assert "“DeepSight without objective” (+26.0 %)" in found["size"]
