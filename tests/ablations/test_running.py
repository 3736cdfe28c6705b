"""Studies are run for real: in processes, with failures and kills, and read back as frames."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ablations
from ablations.places import Places
from ablations.plan import Plan
from ablations.running import check_folder, prepare_study, run_trials
from ablations.stored import trial_folder
from deepsight.errors import UserError
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.runs import write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def run(plan: Plan, file: Path, folder: Path, **settings: Any) -> Record:
    record = settings.pop("watcher", Record())
    prepare_study(plan, file, folder)
    places = settings.pop("places", Places(2))
    run_trials(plan, folder, places=places, plugins=settings.pop("plugins", []), watcher=record, **settings)
    return record


def losses(folder: Path) -> dict[tuple[str, int], float]:
    frame = ablations.load(folder)
    return {(row.arm, row.seed): row.validation_loss for row in frame.itertuples()}


def test_a_study_runs_once_and_gives_frames(text: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(text))
    plan = planned(file)
    record = run(plan, file, tmp_path / "out")
    assert sorted(record.finished_trials) == sorted(trial.id for trial in plan.trials)
    assert {trial for trial, _ in record.rows} == set(record.finished_trials)
    frame = ablations.load(tmp_path / "out")
    assert list(frame["status"]) == ["done"] * 4
    assert list(frame["arm"]) == ["plain", "plain", "future", "future"]
    assert list(frame["objective"]) == ["none", "none", "future_context", "future_context"]
    assert frame["objective.n"].dropna().tolist() == [3, 3]
    assert frame["validation_loss"].notna().all()
    assert frame["parameters"].nunique() == 1
    assert frame.groupby("seed")["batch_digest"].nunique().eq(1).all()
    assert frame["batch_digest"].nunique() == 2
    curves = ablations.curves(tmp_path / "out")
    assert curves.groupby("trial")["step"].apply(list).tolist() == [[0, 4, 8, 12]] * 4
    assert curves.loc[curves["arm"] == "plain", "future_context/loss"].isna().all()
    last = curves[curves["step"] == 12].set_index("trial")["validation_loss"]
    assert last.to_dict() == frame.set_index("trial")["validation_loss"].to_dict()
    again = run(plan, file, tmp_path / "out")
    assert not again.started_trials


def test_a_deleted_trial_runs_again_alone_and_gives_the_same(text: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(text))
    plan = planned(file)
    run(plan, file, tmp_path / "out")
    before = losses(tmp_path / "out")
    gone = plan.trials[1].id
    for part in trial_folder(tmp_path / "out", gone).iterdir():
        part.unlink()
    trial_folder(tmp_path / "out", gone).rmdir()
    assert ablations.load(tmp_path / "out").set_index("trial").loc[gone, "status"] == "pending"
    record = run(plan, file, tmp_path / "out")
    assert record.started_trials == [gone]
    assert losses(tmp_path / "out") == before


def test_a_killed_driver_takes_its_trials_along_and_the_same_command_finishes(
    text: Path, tmp_path: Path, command_line: Callable[..., Any]
) -> None:
    changes = {"base__training__steps": 100, "base__runtime__checkpoint_every": 20, "base__evaluation__every": 50}
    file = write_study(tmp_path / "study.yaml", study_data(text, seeds=1, **changes))
    plan = planned(file)
    arguments = ["ablate", str(file), "--workers", "2", "--out"]
    driver = start(*arguments, str(tmp_path / "killed"))
    wait_for(lambda: any((tmp_path / "killed").glob("trials/*/checkpoint.safetensors")), 60)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    folders = [trial_folder(tmp_path / "killed", trial.id) for trial in plan.trials]
    wait_for(lambda: "running" not in set(ablations.load(tmp_path / "killed")["status"]), 10)
    assert "pending" in set(ablations.load(tmp_path / "killed")["status"])
    assert command_line(*arguments, str(tmp_path / "killed")).returncode == 0
    run(plan, file, tmp_path / "undisturbed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "undisturbed")
    assert not [leftover for folder in folders for leftover in folder.glob(".*.tmp")]


def test_asked_to_stop_each_trial_leaves_a_checkpoint(text: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(text, base__training__steps=3000, seeds=1))
    plan = planned(file)
    record = Record()
    prepare_study(plan, file, tmp_path / "out")
    ended = run_trials(
        plan, tmp_path / "out", places=Places(2), plugins=[], watcher=record, stop=lambda: len(record.rows) > 10
    )
    assert ended == "asked"
    assert not record.failures
    assert all((trial_folder(tmp_path / "out", t) / "checkpoint.safetensors").is_file() for t in record.started_trials)


def test_a_folder_of_something_else_is_refused(text: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(text))
    plan = planned(file)
    with pytest.raises(UserError, match="this is not empty and holds no study"):
        check_folder(plan, tmp_path)
    (tmp_path / "out").mkdir()
    other = plan.study.model_copy(update={"name": "other"})
    (tmp_path / "out" / "plan.json").write_text(json.dumps(other.model_dump(mode="json")), encoding="utf-8")
    with pytest.raises(UserError, match="holds the study 'other', not 'small'"):
        check_folder(plan, tmp_path / "out")


def start(*arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "deepsight", *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def wait_for(happened: Any, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.05)
