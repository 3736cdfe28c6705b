"""The finished runs that a study left, for those who read what lies in their folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ablations.attempts import result_of
from ablations.stored import StoredStudy, read_plan, trial_folder


@dataclass(frozen=True)
class FinishedRun:
    """One run: its folder, and what tells it apart; alone it is an arm of its own, without a trial's id."""

    folder: Path
    arm: str
    seed: int
    trial: str = ""


def finished_runs(folder: str | Path, study: StoredStudy | None = None) -> list[FinishedRun]:
    """Return the finished trials of a study, arm by arm; arms that mean the same run share its folder.

    Args:
        folder: of the study.
        study: its plan, where that was read already.

    Raises:
        UserError: the folder holds no study.

    """
    folder = Path(folder)
    study = read_plan(folder) if study is None else study
    runs = [
        FinishedRun(trial_folder(folder, trial), arm.name, seed, trial)
        for arm in study.arms
        for seed, trial in arm.trials.items()
    ]
    return [run for run in runs if result_of(run.folder) is not None]
