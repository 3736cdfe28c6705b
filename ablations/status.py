"""How a study stands, read from its files alone: from any machine that sees them, whoever runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.attempts import Attempt, read_history, status_of
from ablations.stored import StoredStudy, read_plan, trial_folder
from deepsight.errors import UserError
from deepsight.training.metrics import read_metrics
from deepsight.training.names import CONFIG_FILE, HEARTBEAT_FILE, METRICS_FILE
from deepsight.yaml_files import read_yaml

STATUSES = ("done", "running", "failed", "pending")


@dataclass(frozen=True)
class TrialStatus:
    """One trial.

    Attributes:
        id: of the trial.
        arm, seed: what it is; of the first arm that it serves.
        tuning: whether it only serves to choose tuned values.
        status: done, running, failed or pending.
        attempts: how often it was begun.
        last: the latest attempt, None before the first.
        row: the latest metrics, empty before the first.
        steps: that it is to train; None where its configuration is not written yet.
        silent_seconds: since its last sign of life; None where it does not run.

    """

    id: str
    arm: str
    seed: int
    tuning: bool
    status: str
    attempts: int
    last: Attempt | None
    row: dict[str, Any]
    steps: int | None
    silent_seconds: float | None


@dataclass(frozen=True)
class StudyStatus:
    """A study and its distinct trials, in the plan's order."""

    study: StoredStudy
    trials: tuple[TrialStatus, ...]

    def count(self, status: str) -> int:
        """Return how many trials have a status."""
        return sum(trial.status == status for trial in self.trials)

    @property
    def tuning(self) -> bool:
        """Whether arms still wait for their tuned values."""
        open_trials = {trial.id for trial in self.trials if trial.status in ("running", "pending")}
        tried = (one.trials.values() for arm in self.study.arms if not arm.trials for one in arm.candidates)
        return any(not open_trials.isdisjoint(trials) for trials in tried)

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.count("running") and not self.count("pending")

    def sentence(self) -> str:
        """Say how many trials are in which state."""
        parts = [f"{self.count(status)} {status}" for status in STATUSES if self.count(status)]
        more = "; more follow once tuned values are chosen" if self.tuning else ""
        return f"{self.study.name}: {len(self.trials)} trials, {', '.join(parts) or 'none planned'}{more}"


def read_status(folder: Path) -> StudyStatus:
    """Read how the study in a folder stands.

    Raises:
        UserError: the folder holds no study.

    """
    study = read_plan(folder)
    found: dict[str, TrialStatus] = {}
    for arm in study.arms:
        groups = [(one.trials, True) for one in arm.candidates] + [(arm.trials, False)]
        for trials, tuning in groups:
            for seed, trial in trials.items():
                if trial not in found:
                    found[trial] = _trial_status(trial_folder(folder, trial), trial, arm.name, seed, tuning)
    return StudyStatus(study, tuple(found.values()))


def _trial_status(folder: Path, trial: str, arm: str, seed: int, tuning: bool) -> TrialStatus:
    history = read_history(folder)
    status = status_of(folder, history)
    row: dict[str, Any] = {}
    steps = None
    if status in ("running", "done"):
        for one in read_metrics(folder / METRICS_FILE):
            row.update(one)
    if status == "running":
        steps = _steps(folder / CONFIG_FILE)
    silent = _silent(folder / HEARTBEAT_FILE) if status == "running" else None
    return TrialStatus(trial, arm, seed, tuning, status, len(history.attempts), history.last, row, steps, silent)


def _steps(file: Path) -> int | None:
    try:
        return int(read_yaml(file)["training"]["steps"])
    except (UserError, KeyError, TypeError, ValueError):
        return None


def _silent(file: Path) -> float | None:
    try:
        return max(0.0, time.time() - file.stat().st_mtime)
    except OSError:
        return None
