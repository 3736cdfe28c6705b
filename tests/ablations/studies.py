"""Small studies for the tests of the harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ablations.plan import Plan, Trial, plan_study
from ablations.study_files import read_study
from deepsight.merging import merged
from deepsight.yaml_files import dump_yaml
from tests.runs import run_data


def study_data(text: Path, **changes: Any) -> dict[str, Any]:
    """Return a study of two arms and two seeds as plain data; `changes` have dotted keys, written with __ for dots."""
    base = run_data(text)
    data = {
        "name": "small",
        "base": base,
        "arms": {"plain": {"objective": "none"}, "future": {}},
        "reference": "plain",
        "seeds": 2,
    }
    return merged(data, {key.replace("__", "."): value for key, value in changes.items()})


def write_study(file: Path, data: dict[str, Any]) -> Path:
    """Write a study file."""
    file.write_text(dump_yaml(data), encoding="utf-8")
    return file


def planned(file: Path) -> Plan:
    """Return the plan of a study file."""
    return plan_study(read_study(file), file, f"deepsight ablate {file.name}")


class Record:
    """A watcher that remembers everything it is told."""

    def __init__(self) -> None:
        self.started_trials: list[str] = []
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.finished_trials: list[str] = []
        self.failures: dict[str, tuple[str, str]] = {}
        self.repeated: list[tuple[str, str]] = []
        self.on_wait: Any = lambda: None

    def started(self, trial: Trial) -> None:
        self.started_trials.append(trial.id)

    def advanced(self, trial: Trial, row: dict[str, Any]) -> None:
        self.rows.append((trial.id, row))

    def finished(self, trial: Trial) -> None:
        self.finished_trials.append(trial.id)

    def failed(self, trial: Trial, kind: str, message: str, *, again: bool) -> None:
        if again:
            self.repeated.append((trial.arm, kind))
        else:
            self.failures[trial.arm] = (kind, message)

    def waiting(self) -> None:
        self.on_wait()
