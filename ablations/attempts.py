"""What became of each attempt at a trial, as its folder tells: the ways to end, and whether it is to be run again.

The file is only written by who holds the trial's lock. An attempt without an end is done where it left a result, as
that comes first; where it did not and the lock is free, it was lost.
"""

from __future__ import annotations

import enum
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepsight.training.lock import is_locked
from deepsight.training.names import ATTEMPTS_FILE, RESULT_FILE

RETRIES = 2
"""How often a trial that was lost, stalled or ran out of memory is run again by one driver."""


class Ending(enum.StrEnum):
    """The ways in which an attempt ends."""

    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    STALLED = "stalled"
    CRASHED = "crashed"
    LOST = "lost"


NO_FAILURE = (Ending.DONE, Ending.STOPPED)
STARTED = ("driver", "host", "process", "started", "micro_batch_size")
RUN_AGAIN = (Ending.LOST, Ending.STALLED, Ending.OUT_OF_MEMORY)
"""What may go well another time; a crash or a divergence would only repeat itself."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial.

    Attributes:
        driver: id of the driver that started it.
        host, process: where it ran.
        started: when, UTC, in ISO format.
        micro_batch_size: with which it ran; None for whole batches.
        ending: None while it runs.
        message: one sentence, empty without a failure.
        traceback: of an exception.
        recorded: whether its end was written down; False where it is inferred from a result, or from a lock that
            nobody holds.

    """

    driver: str
    host: str
    process: int
    started: str
    micro_batch_size: int | None = None
    ending: Ending | None = None
    message: str = ""
    traceback: str = ""
    recorded: bool = True

    @property
    def failed(self) -> bool:
        """Whether it ended without a result, and not because it was asked to."""
        return self.ending is not None and self.ending not in NO_FAILURE


@dataclass(frozen=True)
class History:
    """All attempts at a trial, oldest first; those before the last wish to retry are `earlier`."""

    attempts: tuple[Attempt, ...]
    earlier: int = 0

    @property
    def current(self) -> tuple[Attempt, ...]:
        """The attempts since someone last asked for a retry."""
        return self.attempts[self.earlier :]

    @property
    def last(self) -> Attempt | None:
        """The latest attempt that counts."""
        return self.current[-1] if self.current else None

    def may_run(self, retries: int = RETRIES) -> bool:
        """Say whether the trial may (still) run.

        What was lost without a word, as together with its driver, is not held against the trial.
        """
        last = self.last
        if last is None or not last.failed or not last.recorded:
            return True
        if last.ending is Ending.OUT_OF_MEMORY and last.micro_batch_size == 1:
            return False
        held_against = [one for one in self.current if one.failed and one.recorded]
        return last.ending in RUN_AGAIN and len(held_against) <= retries

    def micro_batch_size(self, planned: int | None, batch_size: int) -> int | None:
        """Return the sequences that the next attempt takes at once: half of what ran out of memory last, if any did."""
        exhausted = [one for one in self.current if one.ending is Ending.OUT_OF_MEMORY]
        if not exhausted:
            return planned
        return max(1, (exhausted[-1].micro_batch_size or batch_size) // 2)


def read_history(folder: Path) -> History:
    """Read the attempts at a trial; a torn or foreign line is skipped.

    Args:
        folder: of the trial.

    """
    attempts: list[Attempt] = []
    earlier = 0
    for record in _records(Path(folder) / ATTEMPTS_FILE):
        match record.get("event"):
            case "started":
                if attempts and attempts[-1].ending is None:
                    attempts[-1] = _lost(attempts[-1])
                known: dict[str, Any] = {key: record.get(key) for key in STARTED}
                attempts.append(Attempt(**known))
            case "ended" if attempts and attempts[-1].ending is None:
                end = Ending(record["ending"]) if record.get("ending") in list(Ending) else Ending.CRASHED
                told = {"message": str(record.get("message", "")), "traceback": str(record.get("traceback", ""))}
                attempts[-1] = Attempt(**{**vars(attempts[-1]), "ending": end, **told})
            case "retry":
                earlier = len(attempts)
    if attempts and attempts[-1].ending is None:
        attempts[-1] = _without_a_word(attempts[-1], Path(folder))
    return History(tuple(attempts), earlier)


def record_start(folder: Path, driver: str, micro_batch_size: int | None, process: int | None = None) -> None:
    """Append that an attempt begins in a process (this one when None); the caller holds the trial's lock."""
    where = {"host": platform.node(), "process": os.getpid() if process is None else process}
    _append(folder, {"event": "started", "driver": driver, **where, "micro_batch_size": micro_batch_size})


def record_end(folder: Path, ending: Ending, message: str = "", traceback: str = "") -> None:
    """Append how the last attempt ended; the caller holds the trial's lock."""
    _append(folder, {"event": "ended", "ending": str(ending), "message": message, "traceback": traceback})


def record_retry(folder: Path) -> None:
    """Append that a person wants the trial run again, whatever became of it before."""
    _append(folder, {"event": "retry"})


def result_of(folder: Path) -> dict[str, Any] | None:
    """Return the result in a trial's folder; None without one, or where it cannot be read."""
    try:
        found = json.loads((Path(folder) / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("status") == "done" else None


def status_of(folder: Path, history: History | None = None) -> str:
    """Return done, running, failed or pending, from a trial's files alone."""
    if result_of(folder) is not None:
        return "done"
    if is_locked(folder):
        return "running"
    last = (history or read_history(folder)).last
    return "failed" if last is not None and last.failed and last.recorded else "pending"


def _without_a_word(attempt: Attempt, folder: Path) -> Attempt:
    """Return the last attempt as its folder tells of it, which recorded no end (yet)."""
    if result_of(folder) is not None:
        return Attempt(**{**vars(attempt), "ending": Ending.DONE, "recorded": False})
    return attempt if is_locked(folder) else _lost(attempt)


def _lost(attempt: Attempt) -> Attempt:
    message = f"process {attempt.process} on {attempt.host} ended without a word"
    return Attempt(**{**vars(attempt), "ending": Ending.LOST, "message": message, "recorded": False})


def _append(folder: Path, record: dict[str, Any]) -> None:
    file = Path(folder) / ATTEMPTS_FILE
    now = datetime.now(UTC).isoformat(timespec="seconds")
    stamp = {"started": now} if record["event"] == "started" else {"time": now}
    line = json.dumps({**record, **stamp}, ensure_ascii=False) + "\n"
    with file.open("a+b") as stream:
        # A line torn by a crash must not swallow this one.
        if stream.tell() and _last_byte(file) != b"\n":
            line = f"\n{line}"
        stream.write(line.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _last_byte(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1)


def _records(file: Path) -> Sequence[dict[str, Any]]:
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found
