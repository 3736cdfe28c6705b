"""Finished trials of the studies beside this one: the same run need not be trained twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ablations.attempts import result_of
from ablations.stored import PLAN_FILE, trial_folder
from deepsight.evaluation.probes.answers import answer_file, answered
from deepsight.files import TEMPORARY
from deepsight.training.lock import LockedError, locked
from deepsight.training.names import HEARTBEAT_FILE, LOCK_FILE, PROBES_FOLDER

NOT_SHARED = (LOCK_FILE, HEARTBEAT_FILE)


def take_over(folder: Path, trials: Iterable[str]) -> dict[str, Path]:
    """Bring finished trials of neighbouring studies into a study's folder; return trial → the study it came from.

    Files are linked where the file system can, and copied elsewhere: a finished trial's files are only ever replaced,
    never written to, so two folders can hold one.

    Args:
        folder: of the study; its neighbours are the studies in the same folder.
        trials: ids that are wanted, where they have no result yet.

    """
    neighbours = sorted(plan.parent for plan in folder.absolute().parent.glob(f"*/{PLAN_FILE}"))
    others = [other for other in neighbours if other != folder.absolute()]
    found: dict[str, Path] = {}
    for trial in dict.fromkeys(trials):
        own = trial_folder(folder, trial)
        if result_of(own) is not None:
            continue
        source = next((other for other in others if result_of(trial_folder(other, trial)) is not None), None)
        if source is not None and _brought(trial_folder(source, trial), own):
            found[trial] = source
    return found


def _brought(source: Path, target: Path) -> bool:
    """Make `target` hold what `source` does; False where a process works in it or it cannot be done."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=TEMPORARY, dir=target.parent))
    try:
        for file in source.iterdir():
            if file.is_file() and file.name not in NOT_SHARED and not file.name.endswith(TEMPORARY):
                _linked(file, temporary / file.name)
        for name in answered(source):
            (temporary / PROBES_FOLDER).mkdir(exist_ok=True)
            _linked(answer_file(source, name), answer_file(temporary, name))
        temporary.chmod(0o755)
        if target.exists():
            with locked(target):
                shutil.rmtree(target)
                temporary.rename(target)
        else:
            temporary.rename(target)
        return True
    except (OSError, LockedError):
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _linked(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
