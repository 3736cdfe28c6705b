"""What a study's folder no longer needs: trials that belong to no arm, what dead processes left, stale checks."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from ablations.changes import trials_of
from ablations.stored import read_plan, trial_folder
from ablations.verification import VERIFICATION_FOLDER
from deepsight.files import TEMPORARY, remove_leftovers
from deepsight.training.lock import LockedError, locked

WRITING_SECONDS = 60.0
"""What is younger may still be being written."""


@dataclass(frozen=True)
class Waste:
    """Something that can go, and why.

    Attributes:
        path: a file, or a folder with all that is in it.
        reason: in a few words.
        size: bytes.

    """

    path: Path
    reason: str
    size: int


def waste_in(folder: Path) -> list[Waste]:
    """Return what can be removed from a study's folder without losing a result of the study.

    Raises:
        UserError: the folder holds no study.

    """
    planned = trials_of(read_plan(folder))
    found = []
    for trial in sorted(trial_folder(folder, "").glob("*")):
        if trial.is_dir() and not trial.name.startswith(".") and trial.name not in planned:
            found.append(Waste(trial, "a trial of no arm of the present study", _size(trial)))
    for leftover in sorted(folder.rglob(f".*{TEMPORARY}")):
        if time.time() - leftover.stat().st_mtime > WRITING_SECONDS:
            found.append(Waste(leftover, "left by a process that is gone", _size(leftover)))
    checks = folder / VERIFICATION_FOLDER
    if checks.is_dir():
        found.append(Waste(checks, "trials run again by --verify", _size(checks)))
    return found


def remove(waste: list[Waste]) -> int:
    """Remove what is not in use; return the bytes that were freed."""
    freed = 0
    for one in waste:
        try:
            if one.path.is_dir():
                with locked(one.path):
                    shutil.rmtree(one.path)
            else:
                remove_leftovers(one.path.parent)
        except (LockedError, OSError):
            continue
        freed += 0 if one.path.exists() else one.size
    return freed


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
