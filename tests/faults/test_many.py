"""Many at once, and many in a row: drivers on one study, and trials in one driver."""

from __future__ import annotations

import gc
import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablations.attempts import Ending, read_history, record_end, record_start
from ablations.places import Places
from ablations.plan import Plan, Trial
from ablations.running import prepare_study, run_trials
from ablations.stored import trial_folder
from ablations.supervisor import Supervisor, template
from ablations.trial import Assignment
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.faults.trouble import TORTURE, check_no_leftovers, check_nothing_ran_twice, long_study, outcome, start_driver
from tests.runs import write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


DRIVERS = 8
TRIALS = 250 if TORTURE else 50
"""Run twice, so 500 in all or 100."""


def test_eight_supervisors_on_one_study_share_its_trials(text: Path, tmp_path: Path) -> None:
    """Supervisors in threads: what they contend for are locks between their trials' processes, which are real."""
    study = long_study(tmp_path, text, base__training__steps=40, seeds=3)
    plan = planned(study)
    folder = tmp_path / "together" / "out"
    prepare_study(plan, study, folder)
    supervisors = [Supervisor(folder, Places(1), (), Record()) for _ in range(DRIVERS)]
    with ThreadPoolExecutor(DRIVERS) as threads:
        assert all(threads.map(lambda supervisor: supervisor.run(plan.trials), supervisors))
    check_nothing_ran_twice(folder, plan)
    check_no_leftovers(folder)
    used = {read_history(trial_folder(folder, trial.id)).attempts[-1].driver for trial in plan.trials}
    assert len(used) > 1
    prepare_study(plan, study, tmp_path / "alone" / "out")
    run_trials(plan, tmp_path / "alone" / "out", places=Places(2), plugins=[], watcher=Record())
    assert outcome(folder, plan) == outcome(tmp_path / "alone" / "out", plan)


@pytest.mark.skipif(not TORTURE, reason="eight programs that import torch at once take minutes: make torture")
def test_eight_drivers_on_one_study_share_its_trials(text: Path, tmp_path: Path) -> None:
    study = long_study(tmp_path, text, base__training__steps=40)
    plan = planned(study)
    folder = tmp_path / "together" / "out"
    started = [start_driver(study, folder) for _ in range(DRIVERS)]
    said = [driver.communicate(timeout=600)[0].decode() for driver in started]
    assert [driver.returncode for driver in started] == [0] * DRIVERS, said
    check_nothing_ran_twice(folder, plan)
    check_no_leftovers(folder)


def finish_at_once(assignment: Assignment) -> None:
    """Stand in for a trial's process: no training, everything else."""
    record_start(assignment.folder, assignment.driver, None)
    (assignment.folder / "metrics.jsonl").write_text(
        '{"kind": "train", "step": 1, "loss": 1.0}\n' * 20, encoding="utf-8"
    )
    (assignment.folder / "result.json").write_text(json.dumps({"status": "done"}), encoding="utf-8")
    record_end(assignment.folder, Ending.DONE)


def test_the_drivers_memory_does_not_grow_with_the_number_of_trials(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablations.trial_process.main", finish_at_once)
    plan = planned(write_study(tmp_path / "study.yaml", study_data(text, seeds=1)))
    template()
    held = []
    for count in range(2):
        trials = _numbered(plan, TRIALS, first=TRIALS * count)
        record = _Forgetful()
        Supervisor(tmp_path / "out", Places(4), (), record).run(trials)
        assert record.count == TRIALS
        gc.collect()
        held.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert held[1] - held[0] < 4_000  # kB; trials that were kept with their rows would be more


def _numbered(plan: Plan, count: int, first: int) -> list[Trial]:
    config = plan.trials[0].config
    return [Trial(f"{number:064x}", "plain", config) for number in range(first, first + count)]


class _Forgetful(Record):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def started(self, trial: Trial) -> None:
        """Keep nothing."""

    def advanced(self, trial: Trial, row: dict[str, object]) -> None:
        """Keep nothing."""

    def finished(self, trial: Trial) -> None:
        self.count += 1
