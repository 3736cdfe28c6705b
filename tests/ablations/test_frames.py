"""The frames of a study that never ran: what its trials wrote is there, in the order that the report goes by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import ablations
from ablations.stored import StoredArm, StoredStudy, trial_folder, write_plan

CURVES = ["trial", "arm", "seed", "step", "tokens", "seconds", "train_loss", "validation_loss", "bits_per_byte"]


def study_in(folder: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A study of one arm, of whose trials each wrote one evaluation with these metrics."""
    arm = StoredArm(
        name="arm",
        settings={},
        trials={seed: f"{seed:064x}" for seed in range(len(rows))},
        inference_parameters=1,
        training_parameters=0,
        flops_per_token=6,
    )
    study = StoredStudy(
        name="study", title="", reference="arm", design="arms", seeds=list(arm.trials), equivalence_margin=0.0,
        factors={}, arms=[arm], base={}, command="",
    )  # fmt: skip
    write_plan(folder, study)
    for trial, metrics in zip(arm.trials.values(), rows, strict=True):
        place = trial_folder(folder, trial)
        place.mkdir(parents=True)
        row = {"kind": "evaluation", "step": 4, "tokens": 64, **dict.fromkeys(metrics, 0.5)}
        (place / "metrics.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return folder


def test_metrics_of_tasks_keep_their_order_and_those_of_objectives_have_an_alphabetical_one(tmp_path: Path) -> None:
    tasks = ["task:full_path/accuracy", "task:full_path/chance", "task:coherence/accuracy", "task:a/value"]
    folder = study_in(tmp_path, [[tasks[0], "plug/z", *tasks[1:3], "plug/a", "other/loss", tasks[3]]])
    assert ablations.curves(folder).columns.tolist() == [*CURVES, "other/loss", "plug/a", "plug/z", *tasks]


def test_a_metric_that_a_later_trial_brings_comes_last(tmp_path: Path) -> None:
    folder = study_in(tmp_path, [["task:z/accuracy", "task:y/accuracy"], ["task:a/accuracy", "task:z/accuracy"]])
    columns = ablations.curves(folder).columns.tolist()
    assert columns[len(CURVES) :] == ["task:z/accuracy", "task:y/accuracy", "task:a/accuracy"]


@pytest.mark.parametrize("metric", ["task/loss", "tasks:a/accuracy"])
def test_an_objective_may_be_called_almost_like_a_task(tmp_path: Path, metric: str) -> None:
    folder = study_in(tmp_path, [["task:z/accuracy", metric, "a/loss"]])
    assert ablations.curves(folder).columns.tolist() == [*CURVES, *sorted([metric, "a/loss"]), "task:z/accuracy"]


def test_a_task_needs_no_bits_per_byte(tmp_path: Path) -> None:
    curves = ablations.curves(study_in(tmp_path, [["validation_loss", "task:z/accuracy"]]))
    assert curves["bits_per_byte"].isna().all()
    assert curves["validation_loss"].tolist() == [0.5]
