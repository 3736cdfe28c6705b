"""What is done with a study's folder beside running it: sharing, status, waste, changes, archives."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest

import ablations
from ablations.archive import export
from ablations.attempts import Ending, record_end, record_start, result_of
from ablations.changes import change_sentence
from ablations.housekeeping import remove, waste_in
from ablations.places import Places
from ablations.plan import Plan
from ablations.running import failed_trials, prepare_study, retry, run_trials
from ablations.sharing import take_over
from ablations.status import read_status
from ablations.stored import trial_folder
from ablations.supervisor import Supervisor
from ablations.verification import chosen, compare, fresh_folder
from deepsight.errors import UserError
from deepsight.training.lock import locked
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.runs import write_text

Finished = tuple[Path, Plan, Path]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A study's file, its plan, and its folder with all trials done; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    file = write_study(folder / "study.yaml", study_data(text))
    plan = planned(file)
    prepare_study(plan, file, folder / "runs" / "small")
    run_trials(plan, folder / "runs" / "small", places=Places(2), plugins=[], watcher=Record())
    return file, plan, folder / "runs" / "small"


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished study's folder, to be changed."""
    shutil.copytree(finished[2], tmp_path / "runs" / "small")
    return tmp_path / "runs" / "small"


def test_a_study_beside_takes_over_what_is_finished(copy: Path, text: Path) -> None:
    data = study_data(text, name="other") | {"arms": {"plain": {"objective": "none"}, "later": {"objective.n": 5}}}
    plan = planned(write_study(copy.parent / "other.yaml", data))
    prepare_study(plan, copy.parent / "other.yaml", copy.parent / "other")
    taken = take_over(copy.parent / "other", [trial.id for trial in plan.trials])
    assert sorted(taken) == sorted(plan.study.arm("plain").trials.values())
    assert set(taken.values()) == {copy.absolute()}
    record = Record()
    run_trials(plan, copy.parent / "other", places=Places(2), plugins=[], watcher=record)
    assert sorted(record.started_trials) == sorted(plan.study.arm("later").trials.values())
    frames = [ablations.load(folder).set_index(["arm", "seed"]) for folder in (copy, copy.parent / "other")]
    for seed in (0, 1):
        losses = [frame.loc[("plain", seed), "validation_loss"] for frame in frames]
        assert losses[0] == losses[1]
    assert not list((copy.parent / "other").rglob(".*.tmp"))
    assert take_over(copy.parent / "other", [trial.id for trial in plan.trials]) == {}


def test_a_damaged_or_running_trial_is_not_taken_over(copy: Path, finished: Finished) -> None:
    first, second, *_ = (trial.id for trial in finished[1].trials)
    (trial_folder(copy, first) / "result.json").write_text("{", encoding="utf-8")
    with locked(trial_folder(copy.parent / "other", second)):
        assert take_over(copy.parent / "other", [first, second]) == {}


def test_status_tells_each_state(copy: Path, finished: Finished) -> None:
    _, failed, running, pending = (trial_folder(copy, trial.id) for trial in finished[1].trials)
    for folder in (failed, running, pending):
        (folder / "result.json").unlink()
    record_start(failed, "driver", None)
    record_end(failed, Ending.CRASHED, "why")
    with locked(running):
        record_start(running, "driver", None)
        (running / "heartbeat").touch()
        status = read_status(copy)
    found = {trial.id: trial for trial in status.trials}
    assert [found[trial.id].status for trial in finished[1].trials] == ["done", "failed", "running", "pending"]
    assert status.sentence() == "small: 4 trials, 1 done, 1 running, 1 failed, 1 pending"
    assert not status.is_over
    under_way = found[finished[1].trials[2].id]
    assert under_way.steps == 12
    assert under_way.row["step"] == 12
    assert under_way.last is not None
    assert under_way.last.process == os.getpid()
    assert under_way.silent_seconds is not None
    assert under_way.silent_seconds < 60
    with pytest.raises(UserError, match="there is no study here"):
        read_status(copy.parent)


@pytest.mark.parametrize(
    ("ending", "what", "count"),
    [
        (Ending.CRASHED, "failed", 1), (Ending.DIVERGED, "failed", 0), (Ending.DIVERGED, "all", 1),
        (Ending.CRASHED, "oom", 0), (Ending.OUT_OF_MEMORY, "oom", 1), (Ending.STALLED, "failed", 1),
    ],
)  # fmt: skip
def test_retry_runs_what_was_asked_for(copy: Path, finished: Finished, ending: Ending, what: str, count: int) -> None:
    plan = finished[1]
    folder = trial_folder(copy, plan.trials[1].id)
    (folder / "result.json").unlink()
    for _ in range(3):
        record_start(folder, "driver", 1)
        record_end(folder, ending, "why")
    assert failed_trials(plan, copy) == {plan.trials[1].id: ending}
    record = Record()
    run_trials(plan, copy, places=Places(2), plugins=[], watcher=record)
    assert record.started_trials == []
    assert retry(plan, copy, what) == count
    run_trials(plan, copy, places=Places(2), plugins=[], watcher=record)
    assert record.finished_trials == [plan.trials[1].id] * count


def test_only_waste_goes(copy: Path, text: Path) -> None:
    before = sorted(copy.rglob("*"))
    assert waste_in(copy) == []
    stale, left = trial_folder(copy, "0" * 64), copy / ".plan.json.abc.tmp"
    stale.mkdir()
    (stale / "result.json").write_text("{}", encoding="utf-8")
    left.write_text("half", encoding="utf-8")
    assert [one.path for one in waste_in(copy)] == [stale]
    os.utime(left, (time.time() - 999, time.time() - 999))
    assert [one.path for one in waste_in(copy)] == [stale, left]
    with locked(stale):
        remove(waste_in(copy))
    assert stale.is_dir()
    assert not left.exists()
    remove(waste_in(copy))
    assert sorted(copy.rglob("*")) == before


def test_what_changed_is_said_with_what_is_reused(finished: Finished, text: Path, tmp_path: Path) -> None:
    plan, done = finished[1], {trial.id for trial in finished[1].trials}
    assert change_sentence(plan.study, plan.study, done) is None

    def changed(**changes: object) -> str:
        new = planned(write_study(tmp_path / "study.yaml", study_data(text, **changes)))
        return change_sentence(plan.study, new.study, done) or ""

    assert changed(base__training__steps=20) == (
        "The study has changed since this folder was last used: base.training.steps is 20 instead of 12. "
        "0 of its 4 trials are done and will be reused; 4 trials of the folder are no longer part of it."
    )
    more = changed(seeds=3, arms__more={"objective.n": 5})
    assert "arm 'more' is new; seeds are [0, 1, 2] instead of [0, 1]. 4 of its 9 trials are done" in more
    assert "no longer" not in more
    one = changed(seeds=[1])
    assert "seeds are [1] instead of [0, 1]. 2 of its 2 trials are done and will be reused; 2 trials of" in one
    assert "arm 'future': objective.n is 7 instead of None" in changed(arms__future={"objective.n": 7})


def test_an_archive_is_a_study_elsewhere(copy: Path, finished: Finished, tmp_path: Path) -> None:
    first, second = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    assert export(copy, first) == 4
    time.sleep(1.1)  # an archive knows seconds
    export(finished[2], second)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {entry.uid for entry in archive} == {0}
        archive.extractall(tmp_path / "elsewhere", filter="data")
    place = tmp_path / "elsewhere" / "small"
    assert not list(place.rglob("checkpoint.safetensors"))
    assert ablations.load(place).equals(ablations.load(copy))
    assert ablations.curves(place).equals(ablations.curves(copy))
    record = Record()
    run_trials(finished[1], place, places=Places(2), plugins=[], watcher=record)
    assert record.started_trials == []
    export(copy, second, checkpoints=True)
    with tarfile.open(second) as archive:
        assert sum(name.endswith("checkpoint.safetensors") for name in archive.getnames()) == 4
    with pytest.raises(UserError, match="the archive cannot be written"):
        export(copy, tmp_path / "one.tar.gz" / "below.tar.gz")


def test_a_second_run_gives_the_same_and_a_changed_result_is_found(copy: Path, finished: Finished) -> None:
    trials = chosen(finished[1], copy, 2, seed=3)
    again = fresh_folder(copy)
    Supervisor(again, Places(2), (), Record()).run(trials)
    assert [check.sentence() for check in compare(copy, again, trials)] == [
        f"{trial.arm} (seed {trial.config.seed}): the same to the last bit" for trial in trials
    ]
    file = trial_folder(copy, trials[0].id) / "result.json"
    loss = (result_of(file.parent) or {})["validation_loss"]
    file.write_text(file.read_text(encoding="utf-8").replace(repr(loss), "1.5"), encoding="utf-8")
    checks = compare(copy, again, trials)
    assert [check.holds for check in checks] == [False, True]
    assert f"validation_loss was 1.5 and is {loss}" in checks[0].sentence()
    assert len(chosen(finished[1], copy, 99, seed=0)) == 4
