"""The published numbers beside ours: comparable only where the run is the published one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ablations.published import Published, published_run
from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.published_table import differences_to_published, published_comparison
from reports.table import Table
from tests.reports import synthetic

RUNS = {"DeepSight": "FCS=11 MSE", "baseline": "baseline"}


def config(**changes: Any) -> dict[str, Any]:
    """The published DeepSight run."""
    model = {"width": 150, "layers": [13, 13], "heads": 5, "cross_heads": 10, "context": 400, "dropout": 0.0}
    return {
        "model": {**model, **changes.pop("model", {})},
        "data": {"corpus": {"name": "datasets", "dataset": "wikimedia/wikipedia"}, "tokenizer": "gpt2"},
        "objective": [{"name": "future_context", "n": 11, "distance": {"name": "mse"}, "coefficient": 1.0}],
        "training": {"steps": 9000},
        **changes,
    }


def baseline(**changes: Any) -> dict[str, Any]:
    shape = {"width": 160, "layers": 26, "heads": 10, "cross_heads": None}
    return config(model=shape, objective=[], **changes)


def repeated(ours: dict[str, Any], other: dict[str, Any]) -> tuple[StoredStudy, Table]:
    study = synthetic.study_of(
        {"DeepSight": {}, "baseline": {"model.architecture": "baseline"}, "more": {}}, "baseline"
    )
    arms = [
        arm.model_copy(update={"config": written}) for arm, written in zip(study.arms, (ours, other, {}), strict=True)
    ]
    study = study.model_copy(update={"arms": arms, "published": Published(table="deepsight_vs_baseline", runs=RUNS)})
    losses = {"DeepSight": [3.35, 3.36, 3.37, 3.35, 3.36], "baseline": [3.40, 3.40, 3.42, 3.39, 3.41]}
    trials = synthetic.trials_of(study, losses)
    table = published_comparison(study, trials, compare(study, trials))
    assert table is not None
    return study, table


def cells(table: Table, column: str) -> list[str]:
    place = [one.title for one in table.columns].index(column)
    return [row[place].text for row in table.rows]


def test_at_the_published_scale_ours_stand_beside_the_published_with_the_difference() -> None:
    _, table = repeated(config(), baseline())
    assert cells(table, "arm") == ["DeepSight", "baseline"]
    assert cells(table, "published validation loss") == ["3.340", "3.391"]
    assert cells(table, "ours minus published") == ["+0.018", "+0.013"]
    assert cells(table, "published difference") == ["−0.051", "–"]
    assert cells(table, "difference [95 % interval]")[0].startswith("−0.046")
    assert any("Every run is the published one as far as that was said" in note for note in table.notes)


def test_at_another_scale_both_are_shown_and_the_sentence_says_what_differs() -> None:
    shorter = {"training": {"steps": 600}}
    _, table = repeated(config(**shorter), baseline(**shorter))
    assert "ours minus published" not in [column.title for column in table.columns]
    assert cells(table, "published validation loss") == ["3.340", "3.391"]
    assert table.notes[-1] == "No loss here is comparable with the published one: steps 600, published 9000."
    assert table.data["not_comparable_because"].tolist() == ["steps 600, published 9000"] * 2
    assert table.data["ours_minus_published"].isna().all()


def test_one_arm_may_be_comparable_alone() -> None:
    _, table = repeated(config(model={"width": 128}), baseline())
    assert cells(table, "ours minus published") == ["–", "+0.013"]
    assert table.notes[-1] == (
        "The losses of “DeepSight” are not comparable with the published ones: width 128, published 150."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"objective": []}, ["objective none, published future_context"]),
        ({"objective": [{"name": "future_context", "n": 3, "distance": "cosine", "coefficient": 2}]},
         ["distance cosine, published mse", "n 3, published 11", "coefficient 2, published 1.0"]),
        ({"model": {"layers": [12, 14], "cross_heads": 5, "dropout": 0.1}},
         ["layers 12+14, published 13+13", "dropout 0.1, published 0.0", "heads of cross-attention 5, published 10"]),
        ({"data": {"corpus": {"name": "pydocs"}, "tokenizer": "bytes"}},
         ["corpus pydocs, published wikimedia/wikipedia", "tokenizer bytes, published gpt2"]),
    ],
)  # fmt: skip
def test_what_differs_is_named(changes: dict[str, Any], said: list[str]) -> None:
    run = published_run("deepsight_vs_baseline", "FCS=11 MSE")
    assert list(differences_to_published(config(**changes), run)) == said


def test_a_study_that_repeats_nothing_has_no_such_table() -> None:
    study, trials, _ = synthetic.four_arms()
    assert published_comparison(study, trials, compare(study, trials)) is None


def test_a_study_that_has_not_begun_shows_the_published_numbers_alone() -> None:
    study, _ = repeated(config(), baseline())
    trials = synthetic.trials_of(study, {})
    table = published_comparison(study, trials, compare(study, trials))
    assert table is not None
    assert cells(table, "validation loss") == ["–", "–"]
    assert all(math.isnan(value) for value in table.data["difference_mean"])
