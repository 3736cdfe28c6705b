"""Pairing by shared weights: parameter by parameter, by name, shape and bits."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.finding import find
from reports.pairing import pairing
from reports.starts import Start, start_of
from reports.warnings import study_warnings
from tests.reports import synthetic

REFERENCE = {"a": "2x3:11", "b": "4:22", "c": "5:33", "scale": ":44"}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (REFERENCE, Start(4, 4, 4)),
        ({"a": "2x3:11", "new": "4:22"}, Start(2, 1, 1)),
        ({"a": "2x3:99", "b": "4:22"}, Start(2, 2, 1)),
        ({"a": "3x2:99", "b": "4:22"}, Start(2, 1, 1)),
        ({"scale": ":45", "c": "5:33"}, Start(2, 2, 1)),
        ({"a": "11", "b": "99"}, Start(2, 1, 1)),  # shapes that nobody recorded
        ({"other": "1:1"}, Start(1, 0, 0)),
        ({}, Start(0, 0, 0)),
    ],
)
def test_shared_is_what_has_the_name_and_the_shape(weights: dict[str, str], expected: Start) -> None:
    assert start_of(weights, REFERENCE) == expected
    assert expected.proven == (expected.equal == expected.shared)


@pytest.mark.parametrize("missing", [None, float("nan"), "text"])
def test_what_is_not_recorded_is_unknown(missing: Any) -> None:
    assert start_of(missing, REFERENCE) is None
    assert start_of(REFERENCE, missing) is None


def two_arms(weights: list[dict[str, str] | None], reference: dict[str, str] | None = REFERENCE) -> tuple:  # type: ignore[type-arg]
    seeds = len(weights)
    study = synthetic.study_of({"base": {}, "arm": {"objective.n": 3}}, "base", seeds)
    losses = {"base": synthetic.seed_losses(4, 0, seeds), "arm": synthetic.seed_losses(4, -0.01, seeds)}
    trials = synthetic.trials_of(study, losses)
    trials["initial_weights"] = pd.Series([*[reference] * seeds, *weights], dtype=object)
    return study, trials


def shown(study: StoredStudy, trials: pd.DataFrame) -> dict[str, str]:
    table = pairing(study, compare(study, trials))
    assert table is not None
    return {column.title: cell.text for column, cell in zip(table.columns, table.rows[0], strict=True)}


def test_equal_shared_weights_are_proof_and_shown() -> None:
    wider = {"a": "2x3:11", "b": "4:22", "c": "7:00", "head": "9:55"}
    study, trials = two_arms([wider] * 3)
    comparison = compare(study, trials)["arm"]
    assert comparison.pairs.proven
    assert comparison.pairs.equal_starts == 3
    row = shown(study, trials)
    assert (row["shared parameters"], row["of them equal at the start"]) == ("2 of 4", "2")
    assert "same initial weights" not in row
    assert "started from equal shared weights and saw the same batches" in find(study, trials, {"arm": comparison}).text


def test_arms_that_share_no_weights_are_not_said_to_have_equal_ones() -> None:
    other = {"x": "2x3:11"}
    study, trials = two_arms([REFERENCE, REFERENCE, other])
    text = find(study, trials, compare(study, trials)).text
    assert "pairs of one seed that started from equal weights where their arms share any, and saw the same" in text
    study, trials = two_arms([other] * 3)
    assert "pairs of one seed that saw the same batches" in find(study, trials, compare(study, trials)).text


def test_an_unequal_shared_weight_takes_the_proof() -> None:
    study, trials = two_arms([REFERENCE, {**REFERENCE, "a": "2x3:99", "b": "4:98"}, REFERENCE])
    comparison = compare(study, trials)["arm"]
    assert comparison.pairs.same_batches == 3
    assert not comparison.pairs.proven
    assert shown(study, trials)["of them equal at the start"] == "2"
    texts = [warning.text for warning in study_warnings(study, trials, pd.DataFrame(), {"arm": comparison})]
    assert texts[0] == (
        "The comparison with “base” is not proven to be paired for “arm” (2 shared parameters start unequal in 1 of 3 "
        "pairs). These differences are taken seed by seed, but are not called paired."
    )


def test_both_reasons_are_said() -> None:
    study, trials = two_arms([{**REFERENCE, "a": "2x3:99"}] * 3)
    trials.loc[trials["seed"] == 0, "batch_digest"] = None
    text = study_warnings(study, trials, pd.DataFrame(), compare(study, trials))[0].text
    assert "(the same batches in the same order in 2 of 3 pairs; 1 shared parameter starts unequal in 3 of 3" in text


def test_a_study_that_recorded_nothing_is_judged_by_its_batches() -> None:
    study, trials = two_arms([None] * 3, None)
    pairs = compare(study, trials)["arm"].pairs
    assert pairs.known_starts == ()
    assert pairs.proven
    assert "same initial weights" in shown(study, trials)
    assert "shared weights" not in find(study, trials, compare(study, trials)).text


def test_a_gap_in_the_record_is_counted() -> None:
    study, trials = two_arms([REFERENCE, None, REFERENCE])
    table = pairing(study, compare(study, trials))
    assert table is not None
    assert table.notes[-1] == "1 pair has no record of initial weights on both sides."
    assert table.data["pairs_with_recorded_weights"].tolist() == [2]
