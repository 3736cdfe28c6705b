"""Files that are damaged, full disks, folders that vanish or cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ablations
from ablations.places import Places
from ablations.plan import Plan
from ablations.running import prepare_study, run_trials
from ablations.stored import trial_folder
from reports.build import build
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.faults.trouble import check_no_leftovers, long_study, outcome, start_driver
from tests.runs import write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


def run(plan: Plan, folder: Path, **settings: object) -> Record:
    record = Record()
    run_trials(plan, folder, places=Places(2), plugins=[], watcher=record, **settings)  # type: ignore[arg-type]
    return record


@pytest.fixture(scope="module")
def stopped(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, dict[str, object]]:
    """A study stopped half-way with checkpoints of both trials, and what it measures undisturbed."""
    folder = tmp_path_factory.mktemp("stopped")
    changes = {"base__runtime__checkpoint_every": 5, "base__training__steps": 200, "seeds": 1}
    file = write_study(folder / "study.yaml", study_data(text, **changes))
    plan = planned(file)
    for name in ("whole", "half"):
        prepare_study(plan, file, folder / name)
    run(plan, folder / "whole")
    half = folder / "half"
    # One after the other: side by side, one may end before the other has begun.
    for trial in plan.trials:
        run(replace(plan, trials=[trial]), half, stop=(trial_folder(half, trial.id) / "checkpoint.safetensors").is_file)
    assert not list(half.rglob("result.json"))
    return plan, half, dict(outcome(folder / "whole", plan))


def _overwrite_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    file.write_bytes(content)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a checkpoint cut short": ("checkpoint.safetensors", lambda file: os.truncate(file, file.stat().st_size // 2)),
    "an empty checkpoint": ("checkpoint.safetensors", lambda file: os.truncate(file, 0)),
    "a checkpoint with a hole": ("checkpoint.safetensors", _overwrite_middle),
    "a checkpoint of something else": ("checkpoint.safetensors", lambda file: file.write_bytes(os.urandom(5000))),
    "metrics cut short": ("metrics.jsonl", lambda file: os.truncate(file, 300)),
    "no metrics": ("metrics.jsonl", lambda file: file.unlink()),
    "a result that is none": ("result.json", lambda file: file.write_text("{", encoding="utf-8")),
    "a configuration that is none": ("config.yaml", lambda file: file.write_text("{", encoding="utf-8")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_costs_time_and_nothing_else(
    stopped: tuple[Plan, Path, dict[str, object]], tmp_path: Path, damage: str
) -> None:
    plan, half, expected = stopped
    folder = tmp_path / "out"
    shutil.copytree(half, folder)
    name, do = DAMAGE[damage]
    do(trial_folder(folder, plan.trials[0].id) / name)
    record = run(plan, folder)
    assert record.failures == {}
    assert outcome(folder, plan) == expected
    check_no_leftovers(folder)
    begun_anew = "begins anew" in (trial_folder(folder, plan.trials[0].id) / "log.txt").read_text(encoding="utf-8")
    assert begun_anew == ("checkpoint" in damage or "metrics" in damage)


def test_a_finished_trial_with_a_damaged_result_is_not_trained_again(
    stopped: tuple[Plan, Path, dict[str, object]], tmp_path: Path
) -> None:
    plan, half, expected = stopped
    folder = tmp_path / "out"
    shutil.copytree(half, folder)
    run(plan, folder)
    place = trial_folder(folder, plan.trials[0].id)
    seconds = ablations.load(folder).set_index("trial").loc[plan.trials[0].id, "seconds"]
    (place / "result.json").write_text('{"status": "do', encoding="utf-8")
    assert run(plan, folder).finished_trials == [plan.trials[0].id]
    assert outcome(folder, plan) == expected
    assert ablations.load(folder).set_index("trial").loc[plan.trials[0].id, "seconds"] == seconds


def test_metrics_cut_short_after_the_end_are_warned_of(
    stopped: tuple[Plan, Path, dict[str, object]], tmp_path: Path
) -> None:
    plan, half, _ = stopped
    folder = tmp_path / "out"
    shutil.copytree(half, folder)
    run(plan, folder)
    os.truncate(trial_folder(folder, plan.trials[0].id) / "metrics.jsonl", 700)
    page = build(folder).read_text(encoding="utf-8")
    assert "ends before" in page or "end before" in page


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes; only root may make one, and not everywhere."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_one_sentence_a_trial_and_loses_nothing(
    text: Path, tmp_path: Path, small_disk: Path, command_line: Callable[..., Any]
) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(text, seeds=1))
    plan = planned(file)
    prepare_study(plan, file, small_disk / "out")
    filler = small_disk / "filler"
    with filler.open("wb") as stream:
        free = shutil.disk_usage(small_disk).free
        stream.write(bytes(max(0, free - 16_384)))
    record = run(plan, small_disk / "out")
    assert record.finished_trials == []
    assert set(record.failures) == {"plain", "future"}
    filler.unlink()
    again = tmp_path / "again"
    shutil.copytree(small_disk / "out", again)
    answer = command_line("ablate", str(file), "--out", str(again), "--retry", "failed")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert set(ablations.load(again)["status"]) == {"done"}


def test_a_folder_that_vanishes_ends_the_study_in_one_sentence(text: Path, tmp_path: Path) -> None:
    study = long_study(tmp_path, text, base__training__steps=3000)
    driver = start_driver(study, tmp_path / "out")
    while not list(tmp_path.glob("out/trials/*/metrics.jsonl")):
        assert driver.poll() is None
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    said = driver.communicate(timeout=60)[0].decode()
    assert driver.returncode == 1
    assert "UserError" in said.splitlines()[-1]
    assert "out: the study's folder is gone" in said


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone who may not write")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(write_text(tmp_path / "text", documents=8)))
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from ablations.running import prepare_study; from tests.ablations.studies import planned\n"
        "from deepsight.errors import UserError\n"
        "plan = planned(Path(sys.argv[1])); from deepsight.data.of_run import pack_for\n"
        "[pack_for(trial.config.data) for trial in plan.trials]\n"
        f"os.seteuid({NOBODY})\n"
        "try: prepare_study(plan, Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except UserError as error: print(error)\n"
    )
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and parent != Path("/tmp") and parent.is_relative_to("/tmp"):
            parent.chmod(0o755)
    answer = subprocess.run(
        [sys.executable, "-c", script, str(file), str(locked / "out")], capture_output=True, text=True, check=False
    )
    assert answer.stdout == f"{locked / 'out'}: a study cannot be written here: Permission denied\n", answer.stderr
    assert list(locked.iterdir()) == []
