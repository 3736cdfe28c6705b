"""A study in one file: everything that another machine needs to report from it and to run it again."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ablations.attempts import result_of
from ablations.changes import trials_of
from ablations.running import PLUGIN_FOLDER
from ablations.stored import PLAN_FILE, STUDY_FILE, read_plan, trial_folder
from deepsight.errors import UserError
from deepsight.files import TEMPORARY, atomic_path
from deepsight.training.names import CHECKPOINT_FILE, HEARTBEAT_FILE, LOCK_FILE

NEVER = (LOCK_FILE, HEARTBEAT_FILE)


def export(folder: Path, file: Path, *, checkpoints: bool = False) -> int:
    """Pack a study into a gzipped tar archive; return the number of its trials.

    Inside is one folder, named like the study's. The same files give the same bytes.

    Args:
        folder: of the study.
        file: the archive.
        checkpoints: also the weights.

    Raises:
        UserError: the folder holds no study, or the archive cannot be written.

    """
    folder = folder.absolute()
    trials = sorted(trials_of(read_plan(folder)))
    files = sorted(_files(folder, trials, checkpoints), key=str)
    try:
        with (
            atomic_path(file) as temporary,
            temporary.open("wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in files:
                archive.add(path, f"{folder.name}/{path.relative_to(folder)}", filter=_anonymous)
    except OSError as error:
        raise UserError(f"{file}: the archive cannot be written: {error.strerror or error}") from None
    return sum(result_of(trial_folder(folder, trial)) is not None for trial in trials)


def _files(folder: Path, trials: list[str], checkpoints: bool) -> Iterator[Path]:
    yield from (path for name in (STUDY_FILE, PLAN_FILE) if (path := folder / name).is_file())
    places = [folder / PLUGIN_FOLDER, folder / "report", *(trial_folder(folder, trial) for trial in trials)]
    for path in (path for place in places for path in place.rglob("*")):
        kept = checkpoints or path.name != CHECKPOINT_FILE
        if kept and path.is_file() and not path.name.endswith(TEMPORARY) and path.name not in NEVER:
            yield path


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return an entry without what differs between machines."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o644
    return entry
