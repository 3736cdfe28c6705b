"""The lock on a run's folder: held by one process, and freed by the kernel when that ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepsight.errors import UserError
from deepsight.training.names import LOCK_FILE


class LockedError(UserError):
    """Another process works in this run's folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process.

    Raises:
        LockedError: another process holds it.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"{folder}: another process is training this run") from None
        yield


def is_locked(folder: Path) -> bool:
    """Say whether a process holds a run's folder."""
    try:
        with (folder / LOCK_FILE).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
