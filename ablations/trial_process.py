"""One attempt at a trial as its starter sees it: a process that is watched, ended where needed, and accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

from ablations.attempts import Ending, read_history, record_end, record_start, result_of
from ablations.plan import Trial
from ablations.row_reader import RowReader
from ablations.trial import BUSY, STOPPED, Assignment, main
from deepsight.training.lock import LockedError, locked
from deepsight.training.names import HEARTBEAT_FILE, LOG_FILE, METRICS_FILE

GRACE_SECONDS = 20.0
"""What a process that is asked to stop has to write its checkpoint."""
LOG_CHECK_SECONDS = 1.0
TEMPLATE_GONE = 255
"""What multiprocessing says of a process whose end it could not learn."""
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS)
"""Signals by which a process ends through its own doing; others come from outside."""


@dataclass(frozen=True)
class Limits:
    """What a trial's process may do.

    Attributes:
        stall_seconds: longest time without a sign of life: a step, or a batch of an evaluation.
        trial_seconds: longest time of one attempt; None for any.
        log_bytes: the log's size above which its older half goes.

    """

    stall_seconds: float = 1800.0
    trial_seconds: float | None = None
    log_bytes: int = 4 * 2**20


@dataclass(frozen=True)
class Conclusion:
    """How an attempt ended.

    Attributes:
        ending: None where another driver has the trial.
        message: one sentence, empty without a failure.
        recorded: whether the trial's folder says so too.

    """

    ending: Ending | None
    message: str = ""
    recorded: bool = True


class TrialProcess:
    """A running attempt.

    Args:
        context: of the template process that this one is forked from.
        trial: which one.
        assignment: what the process is told.
        limits: what it may do.

    """

    def __init__(self, context: ForkServerContext, trial: Trial, assignment: Assignment, limits: Limits) -> None:
        self.trial, self.folder, self.limits = trial, assignment.folder, limits
        self._driver = assignment.driver
        self.rows = RowReader(self.folder / METRICS_FILE)
        self._started = self._alive_at = self._log_seen_at = time.monotonic()
        self._heartbeat: float | None = self._beat()
        self._verdict: tuple[Ending, str] | None = None
        self._kill_at: float | None = None
        self._kills_before = _kills_for_memory()
        self._process = context.Process(target=main, args=(assignment,), daemon=True)
        self._process.start()
        self.process_id = self._process.pid

    @property
    def sentinel(self) -> int:
        """A handle that becomes ready when the process ends."""
        return self._process.sentinel

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return not self._process.is_alive()

    def stop(self) -> None:
        """Ask the process to leave a checkpoint and end; it is killed if it does not."""
        if self._kill_at is None:
            self._process.terminate()
            self._kill_at = time.monotonic() + GRACE_SECONDS

    def kill(self) -> None:
        """End the process at once."""
        if not self.ended:
            self._process.kill()
            self._process.join()

    def watch(self) -> None:
        """End the process where it has gone over a limit; called a few times a second."""
        now, limits = time.monotonic(), self.limits
        beat = self._beat()
        if beat != self._heartbeat:
            self._heartbeat, self._alive_at = beat, now
        if self._verdict is None and now - self._alive_at > limits.stall_seconds:
            self._verdict = Ending.STALLED, f"no sign of life for {limits.stall_seconds:g} s"
            self._process.kill()
        if self._verdict is None and limits.trial_seconds is not None and now - self._started > limits.trial_seconds:
            self._verdict = Ending.TIMED_OUT, f"not finished after {limits.trial_seconds:g} s"
            self.stop()
        if self._kill_at is not None and now > self._kill_at:
            self._process.kill()
        if now - self._log_seen_at > LOG_CHECK_SECONDS:
            self._log_seen_at = now
            cut_log(self.folder / LOG_FILE, limits.log_bytes)

    def conclude(self) -> Conclusion:
        """Return how the attempt ended, and record it where the process could not."""
        code = self._process.exitcode
        self._process.close()
        cut_log(self.folder / LOG_FILE, self.limits.log_bytes)
        if code == BUSY:
            return Conclusion(None)
        if result_of(self.folder) is not None:
            return Conclusion(Ending.DONE)
        last = read_history(self.folder).last
        mine = last is not None and last.process == self.process_id and last.driver == self._driver
        if last is not None and mine and last.ending not in (None, Ending.LOST, Ending.STOPPED):
            return Conclusion(last.ending, last.message)
        ending, message = self._verdict or _told_by(code, stopping=self._kill_at is not None)
        if ending is Ending.LOST and code == -signal.SIGKILL and _kills_for_memory() > self._kills_before:
            ending, message = Ending.OUT_OF_MEMORY, "the system ended the process for want of memory"
        try:
            with locked(self.folder):
                if not mine:
                    record_start(self.folder, self._driver, None, self.process_id)
                record_end(self.folder, ending, message)
        except LockedError:
            # Another driver has taken the trial over by now.
            return Conclusion(None)
        except OSError as error:
            return Conclusion(ending, f"{message}; nor can that be recorded: {error.strerror}", recorded=False)
        return Conclusion(ending, message)

    def _beat(self) -> float | None:
        try:
            return (self.folder / HEARTBEAT_FILE).stat().st_mtime
        except OSError:
            return None


def cut_log(file: Path, most: int) -> None:
    """Drop the older part of a log that has grown beyond `most` bytes, and say so in it."""
    with contextlib.suppress(OSError):
        if file.stat().st_size <= most:
            return
        with file.open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(size - most // 2)
            _, _, kept = stream.read().partition(b"\n")
            note = f"[{size - len(kept):,} bytes were cut here: the log had grown beyond {most:,}]\n"
            stream.seek(0)
            stream.write(note.encode("utf-8") + kept)
            stream.truncate()


def _kills_for_memory() -> int:
    """Return how many processes the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, StopIteration, ValueError):
        return 0


def _told_by(code: int | None, *, stopping: bool) -> tuple[Ending, str]:
    """Return the ending that an exit code means, of a process that left no word."""
    if code == STOPPED or (stopping and code is not None and code < 0):
        return Ending.STOPPED, ""
    if code == TEMPLATE_GONE:
        return Ending.LOST, "the process ended together with the template that it came from"
    if code is None or code >= 0:
        return Ending.CRASHED, f"the process ended with exit code {code} and left no result"
    name = signal.Signals(-code).name if -code in list(signal.Signals) else "unknown"
    ending = Ending.CRASHED if -code in CRASHES else Ending.LOST
    return ending, f"the process was ended by signal {-code} ({name})"
