"""The ledger with its tuning and attempts, and the warnings on unequal tuning and on metrics that were cut."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from ablations.stored import Candidate, StoredStudy
from reports.accounts import failures, ledger, tuning_trials
from reports.comparisons import compare
from reports.table import Table
from reports.table_formats import to_csv
from reports.warnings import study_warnings
from tests.reports import synthetic

RATES = (0.001, 0.003, 0.01)


def tuned(study: StoredStudy, chosen: dict[str, float | None], rates: dict[str, int] | None = None) -> StoredStudy:
    """The study with a grid of learning rates for each arm of `chosen`, on two seeds of its own."""
    arms = []
    for arm in study.arms:
        grid = RATES[: (rates or {}).get(arm.name, 3)] if arm.name in chosen else ()
        candidates = [
            Candidate(
                settings={"training.learning_rate": rate},
                trials={seed: synthetic.digest(arm.name, rate, seed) for seed in (100, 101)},
                chosen=rate == chosen[arm.name],
            )
            for rate in grid
        ]
        arms.append(arm.model_copy(update={"candidates": candidates}))
    return study.model_copy(update={"arms": arms})


def two_arms() -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    study = synthetic.study_of({"base": {}, "arm": {"objective.n": 1}}, "base", 5)
    losses = {"base": synthetic.seed_losses(4, 0, 5), "arm": synthetic.seed_losses(4, 0.01, 5)}
    trials = synthetic.trials_of(study, losses)
    return study, trials, synthetic.curves_of(study, trials)


def column(table: Table, title: str) -> list[str]:
    position = [column.title for column in table.columns].index(title)
    return [row[position].text for row in table.rows]


def warnings_of(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> dict[str, str]:
    found = study_warnings(study, trials, curves, compare(study, trials))
    return {warning.kind: warning.text for warning in found}


def test_tuning_is_counted_and_what_was_chosen_is_listed() -> None:
    study, trials, curves = two_arms()
    study = tuned(study, {"base": 0.003, "arm": 0.01})
    table = ledger(study, trials)
    assert column(table, "tuning trials") == ["6", "6", "12"]
    assert table.notes == (
        "Tuned with 2 seeds that are not used to compare (100 and 101): training.learning_rate 0.003 in “base”; "
        "training.learning_rate 0.01 in “arm”.",
        "Every arm was given equally many tuning trials: 6.",
    )
    assert warnings_of(study, trials, curves) == {}
    data = pd.read_csv(io.StringIO(to_csv(table)))
    assert json.loads(data["tuned"][1]) == {"training.learning_rate": 0.01}


def test_arms_that_took_the_same_share_a_phrase_and_shared_candidates_count_once() -> None:
    study, trials, _ = two_arms()
    study = tuned(study, {"base": 0.003, "arm": 0.003})
    same = [arm.model_copy(update={"candidates": study.arms[0].candidates}) for arm in study.arms]
    study = study.model_copy(update={"arms": same})
    table = ledger(study, trials)
    assert "training.learning_rate 0.003 in “base” and “arm”." in table.notes[0]
    assert column(table, "tuning trials") == ["6", "6", "6"]


@pytest.mark.parametrize(
    ("chosen", "rates", "counts"),
    [({"arm": 0.001}, {}, (0, 6)), ({"base": 0.001, "arm": 0.001}, {"base": 1}, (2, 6))],
)
def test_unequal_tuning_is_warned_of(chosen: dict[str, float], rates: dict[str, int], counts: tuple[int, int]) -> None:
    study, trials, curves = two_arms()
    study = tuned(study, dict(chosen), rates)
    assert tuple(tuning_trials(arm) for arm in study.arms) == counts
    assert warnings_of(study, trials, curves)["tuning"] == (
        f"The arms were not tuned with equally many trials: “base” with {counts[0]}, “arm” with {counts[1]}; the "
        "ledger has all. An arm that was tuned more may look better for that alone."
    )
    assert not any("Every arm" in note for note in ledger(study, trials).notes)


def test_an_arm_that_waits_for_its_tuned_values_is_said() -> None:
    study, trials, curves = two_arms()
    study = tuned(study, {"base": 0.003, "arm": None})
    waiting = study.arms[1].model_copy(update={"trials": {}})
    study = study.model_copy(update={"arms": [study.arms[0], waiting]})
    assert warnings_of(study, trials, curves)["unfinished"] == (
        "No trial of “arm” is planned: the tuned values are not chosen, because tuning trials are missing or have "
        "failed."
    )
    assert ledger(study, trials).notes[0].endswith("training.learning_rate 0.003 in “base”; not yet chosen in “arm”.")
    assert column(ledger(study, trials), "done") == ["5", "0", "5"]


def test_the_control_is_not_tuned_and_that_is_no_fault() -> None:
    study, trials, curves = two_arms()
    study = tuned(study, {"base": 0.003})
    study = study.model_copy(update={"arms": [study.arms[0], study.arms[1].model_copy(update={"control": True})]})
    assert "tuning" not in warnings_of(study, trials, curves)
    assert ledger(study, trials).notes[1:] == (
        "Every arm was given equally many tuning trials: 6.",
        "The A/A control takes the reference's tuned values.",
    )


def test_budgets_that_differ_by_design_are_said_to() -> None:
    study, trials, curves = two_arms()
    trials.loc[trials["arm"] == "arm", "tokens"] = 1e6
    assert "by design" not in warnings_of(study, trials, curves)["budget"]
    matched = study.arms[1].model_copy(update={"settings": {"training.match": "time"}})
    study = study.model_copy(update={"arms": [study.arms[0], matched]})
    assert warnings_of(study, trials, curves)["budget"].endswith("This is by design: budgets are matched by time.")


def test_attempts_are_counted_where_they_are_recorded() -> None:
    study, trials, _ = two_arms()
    assert "attempts" not in [column.title for column in ledger(study, trials).columns]
    trials["attempts"] = [1] * 9 + [3]
    trials.loc[9, ["status", "failure", "validation_loss"]] = ["failed", "crashed", None]
    assert column(ledger(study, trials), "attempts") == ["5", "7", "12"]
    table = failures(study, trials)
    assert table is not None
    assert column(table, "attempts") == ["3"]


def test_metrics_that_end_before_their_result_are_warned_of() -> None:
    study, trials, curves = two_arms()
    trials["step"] = 300
    assert warnings_of(study, trials, curves) == {}
    cut = (curves["arm"] == "arm") & (((curves["seed"] == 2) & (curves["step"] > 120)) | (curves["seed"] == 4))
    assert warnings_of(study, trials, curves[~cut])["truncated"].startswith(
        "The metrics of 2 finished trials end before the training did: “arm” seed 2 (step 120 of 300) and “arm” seed 4 "
        "(step 0 of 300). Their results are whole"
    )
    assert warnings_of(study, trials.drop(columns="step"), curves[~cut]) == {}
