"""Many at once, and many in a row: drivers on one study, and trials in one driver."""

from __future__ import annotations

import gc
import json
import resource
from pathlib import Path

import pytest

from ablations.attempts import Ending, record_end, record_start
from ablations.places import Places
from ablations.plan import Plan, Trial
from ablations.supervisor import Supervisor, template
from ablations.trial import Assignment
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.faults.trouble import TORTURE, check_no_leftovers, check_nothing_ran_twice, long_study, outcome, start_driver
from tests.runs import write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


@pytest.mark.slow
@pytest.mark.parametrize("drivers", [2, 8] if TORTURE else [8])
def test_drivers_on_one_study_share_its_trials(text: Path, tmp_path: Path, drivers: int) -> None:
    """Eight processes that import torch at once are slow on two cores; that is the price of a real test."""
    study = long_study(tmp_path, text, base__training__steps=40)
    plan = planned(study)
    started = [start_driver(study, tmp_path / "together" / "out") for _ in range(drivers)]
    said = [driver.communicate(timeout=300)[0].decode() for driver in started]
    assert [driver.returncode for driver in started] == [0] * drivers, said
    check_nothing_ran_twice(tmp_path / "together" / "out", plan)
    check_no_leftovers(tmp_path / "together" / "out")
    alone = start_driver(study, tmp_path / "alone" / "out")
    assert alone.wait(120) == 0
    assert outcome(tmp_path / "together" / "out", plan) == outcome(tmp_path / "alone" / "out", plan)


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
        trials = _numbered(plan, 250, first=250 * count)
        record = _Forgetful()
        Supervisor(tmp_path / "out", Places(4), (), record).run(trials)
        assert record.count == 250
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
