"""Worker loops: their script as Slurm would get it, and the same loops run on this machine."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablations.driver import Job
from ablations.executors.slurm import Loop, SlurmOptions, _notices_blocked, render, slurm_options, submit
from ablations.places import Places
from ablations.running import prepare_study, run_trials
from ablations.trial_queue import Rules
from deepsight.errors import UserError
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import Record, planned
from tests.ablations.test_running import wait_for
from tests.faults.trouble import check_no_leftovers, check_nothing_ran_twice, long_study, outcome
from tests.runs import write_text

submitit = pytest.importorskip("submitit", reason="submitit is not installed")


def test_the_script_asks_for_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = slurm_options(
        {"loops": 4, "partition": "gpu", "time": 90, "memory": "16GB", "gpus_per_node": 1, "slurm_mail_type": "END"}
    )
    script = render(Job(Path("study.yaml"), Path("runs") / "splits", (), "deepsight ablate"), options)
    lines = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    asked = {
        "array=0-3%4", "partition=gpu", "time=90", "mem=16GB", "gpus-per-node=1", "cpus-per-task=1", "job-name=splits",
        "requeue", "mail-type=END", "signal=USR2@120", "open-mode=append",
    }  # fmt: skip
    assert asked <= lines
    others = {line.partition("=")[0] for line in lines - asked}
    assert others <= {"error", "output", "nodes", "wckey", "ntasks-per-node"}
    assert f"-u -m submitit.core._submit {tmp_path}/runs/splits/slurm" in script


def test_trials_do_not_see_the_signals_by_which_slurm_gives_notice() -> None:
    inside = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with _notices_blocked():
        said = subprocess.run([sys.executable, "-c", inside], capture_output=True, text=True, check=True).stdout
    assert "SIGUSR1" in said
    assert "SIGUSR2" in said
    assert signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
def test_two_loops_share_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)
    study = long_study(tmp_path, write_text(tmp_path / "text", documents=8), base__training__steps=40)
    plan = planned(study)
    folder = tmp_path / "loops" / "out"
    job = Job(study, folder, (), "deepsight ablate")
    prepare_study(plan, study, folder)
    # The loops read the copy of the study that its folder keeps.
    study = study.rename(tmp_path / "moved.yaml")
    submit(job, Rules(), SlurmOptions(loops=2, workers=1, cluster="local"))
    assert len(list((folder / "slurm").glob("*_submitted.pkl"))) == 2
    # They run without this process: what is there when both have ended is all that it learns of them.
    wait_for(lambda: len(list((folder / "slurm").glob("*_result.pkl"))) == 2, 120)
    check_nothing_ran_twice(folder, plan)
    check_no_leftovers(folder)
    prepare_study(plan, study, tmp_path / "plain" / "out")
    run_trials(plan, tmp_path / "plain" / "out", places=Places(2), plugins=[], watcher=Record())
    assert outcome(folder, plan) == outcome(tmp_path / "plain" / "out", plan)


def test_a_loop_that_must_end_has_its_trials_stop_and_is_queued_again(tmp_path: Path) -> None:
    asked = []

    class Stoppable:
        def stop_now(self, seconds: float) -> None:
            asked.append(seconds)

    loop = Loop(Job(tmp_path / "study.yaml", tmp_path, (), "deepsight ablate"), 2)
    running: Any = Stoppable()
    loop._begun(running)
    again = loop.checkpoint(3)
    assert asked == [90.0]
    assert again.function is loop
    assert again.args == (3,)
    restored = pickle.loads(pickle.dumps(loop))
    assert restored == loop
    assert restored._supervisor is None


def test_the_debug_executor_runs_a_loop_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)
    study = long_study(tmp_path, write_text(tmp_path / "text", documents=8), base__training__steps=10, seeds=1)
    plan = planned(study)
    job = Job(study, tmp_path / "out", (), "deepsight ablate")
    prepare_study(plan, study, tmp_path / "out")
    executor = submitit.DebugExecutor(folder=tmp_path / "out" / "slurm")
    assert executor.submit(Loop(job, 1), 0).result() is None
    check_nothing_ran_twice(tmp_path / "out", plan)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"partitoin": "gpu"}, "did you mean 'partition'"),
        ({"loops": 0}, "loops"),
        ({"time": "long"}, "time"),
        ({"passed_on": {}}, "unknown key 'passed_on'"),
        ({"slurm_qos": ["low"]}, r"slurm_qos: an #SBATCH line holds one value, not \['low'\]"),
        ({"slurm_qos": "low\nrm -r x"}, "slurm_qos"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(written: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        slurm_options(written)


def test_without_slurm_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"there is no Slurm on this machine \(no sbatch\)"):
        submit(Job(tmp_path / "study.yaml", tmp_path, (), ""), Rules(), SlurmOptions())
