"""Whether the files that a report is made of have changed: looked at, not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ablations.stored import PLAN_FILE, trial_folder
from deepsight.evaluation.probes.answers import answer_file, answered
from deepsight.training.lock import is_locked
from deepsight.training.names import (
    ATTEMPTS_FILE,
    BREAKDOWN_FILE,
    CONFIG_FILE,
    GRADIENTS_FILE,
    INITIAL_WEIGHTS_FILE,
    METRICS_FILE,
    PROVENANCE_FILE,
    RESULT_FILE,
)

READ_FILES = (
    CONFIG_FILE,
    PROVENANCE_FILE,
    INITIAL_WEIGHTS_FILE,
    METRICS_FILE,
    GRADIENTS_FILE,
    BREAKDOWN_FILE,
    RESULT_FILE,
    ATTEMPTS_FILE,
)


def state_of(folder: Path) -> Any:
    """Return what is another value once a file of the study, or what holds a trial's lock, has changed."""
    trials = sorted(place for place in trial_folder(folder, "").glob("[!.]*") if place.is_dir())
    return _stamp(folder / PLAN_FILE), [_trial_state(place) for place in trials]


def _trial_state(folder: Path) -> Any:
    stamps = [_stamp(folder / name) for name in READ_FILES]
    answers = [_stamp(answer_file(folder, name)) for name in answered(folder)]
    finished = stamps[READ_FILES.index(RESULT_FILE)] is not None
    # A trial that is killed leaves its files as they were, and its lock free.
    return folder.name, stamps, answers, not finished and is_locked(folder)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
