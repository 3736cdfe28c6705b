"""Which trial is next, and what follows from how one ended: the same rules wherever trials run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ablations.attempts import NO_FAILURE, RETRIES, Ending, read_history, result_of
from ablations.plan import Trial
from ablations.stored import trial_folder
from ablations.trial_process import Conclusion, Limits
from deepsight.errors import UserError
from deepsight.files import write_text
from deepsight.training.lock import is_locked
from deepsight.training.names import CONFIG_FILE
from deepsight.yaml_files import dump_yaml

REST_SECONDS = 2.0
"""How long a trial that another driver works at is left alone."""
ASKED = "asked"


class Watcher(Protocol):
    """What wants to know how the trials of a study come along."""

    def started(self, trial: Trial) -> None:
        """Tell that an attempt at a trial begins."""

    def advanced(self, trial: Trial, row: dict[str, Any]) -> None:
        """Tell of a row that a running trial recorded."""

    def finished(self, trial: Trial) -> None:
        """Tell that a trial left its result."""

    def failed(self, trial: Trial, kind: str, message: str, *, again: bool) -> None:
        """Tell that an attempt ended without one, and whether there will be another."""

    def waiting(self) -> None:
        """Let time pass, a few times a second."""


@dataclass(frozen=True)
class Rules:
    """How failures are dealt with.

    Attributes:
        retries: how often a trial that was lost, stalled or ran out of memory is run again.
        fail_fast: whether the first failed trial stops the study.
        same_failures: so many trials in a row that fail in one way stop the study; 0 for never.
        limits: what each process may do.

    """

    retries: int = RETRIES
    fail_fast: bool = False
    same_failures: int = 5
    limits: Limits = field(default_factory=Limits)


class TrialQueue:
    """The trials of a study that are still to run.

    Args:
        folder: of the study.
        watcher: told of everything.
        rules: for failures.

    """

    def __init__(self, folder: Path, watcher: Watcher, rules: Rules) -> None:
        self.folder, self.watcher, self.rules = folder, watcher, rules
        self.stopped: str | None = None
        self._waiting: list[Trial] = []
        self._resting: list[tuple[float, Trial]] = []
        self._in_a_row: list[Ending] = []
        self._inode: int | None = None

    def fill(self, trials: list[Trial]) -> None:
        """Begin with the trials that have no result and may run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._inode = _inode(self.folder)
        self._waiting = [trial for trial in trials if self._is_open(trial)]

    def __bool__(self) -> bool:
        """Say whether there is something left to start, now or later."""
        return bool(self._waiting or self._resting)

    def check_folder(self) -> None:
        """Raise where the study's folder has gone, or another has come into its place."""
        if _inode(self.folder) != self._inode:
            raise UserError(f"{self.folder}: the study's folder is gone")

    def next(self) -> Trial | None:
        """Take the next trial that can start now; None where there is none."""
        now = time.monotonic()
        self._waiting += [trial for until, trial in self._resting if until <= now]
        self._resting = [(until, trial) for until, trial in self._resting if until > now]
        while self._waiting:
            trial = self._waiting.pop(0)
            folder = trial_folder(self.folder, trial.id)
            if is_locked(folder):
                self.rest(trial)
            elif not self._is_open(trial):
                self._tell_of_another(trial)
            else:
                return trial
        return None

    def configured(self, trial: Trial) -> bool:
        """Write the configuration of a trial that is about to start; False where that fails, and so has the trial."""
        folder = trial_folder(self.folder, trial.id)
        try:
            write_text(folder / CONFIG_FILE, dump_yaml(trial.config.complete()))
        except OSError as error:
            self.watcher.failed(trial, str(Ending.CRASHED), f"{folder}: {error.strerror}", again=False)
            self._judge(Ending.CRASHED)
            return False
        return True

    def put_back(self, trial: Trial) -> None:
        """Return a trial that was taken and could not start, to be the next one again."""
        self._waiting.insert(0, trial)

    def rest(self, trial: Trial) -> None:
        """Leave a trial alone for a while, because another driver works at it."""
        if self.stopped is None:
            self._resting.append((time.monotonic() + REST_SECONDS, trial))

    def conclude(self, trial: Trial, found: Conclusion) -> None:
        """Take note of how an attempt ended: tell, try again, or stop the study."""
        ending = found.ending
        if ending is None:
            self.rest(trial)
        elif ending is Ending.DONE:
            self._in_a_row.clear()
            self.watcher.finished(trial)
        elif ending not in NO_FAILURE:
            again = self.stopped is None and found.recorded and self._is_open(trial)
            self.watcher.failed(trial, str(ending), found.message, again=again)
            if again:
                self.put_back(trial)
            else:
                self._judge(ending)

    def end(self, why: str) -> None:
        """Start nothing any more."""
        if self.stopped is None:
            self.stopped = why
        self._waiting, self._resting = [], []

    def _is_open(self, trial: Trial) -> bool:
        folder = trial_folder(self.folder, trial.id)
        return result_of(folder) is None and read_history(folder).may_run(self.rules.retries)

    def _tell_of_another(self, trial: Trial) -> None:
        """Tell what another driver has made of a trial."""
        folder = trial_folder(self.folder, trial.id)
        last = read_history(folder).last
        if result_of(folder) is not None:
            self.watcher.finished(trial)
        elif last is not None:
            self.watcher.failed(trial, str(last.ending), last.message, again=False)

    def _judge(self, ending: Ending) -> None:
        """Stop the study where the rules say so, after a trial has failed for good."""
        self._in_a_row.append(ending)
        latest = self._in_a_row[-self.rules.same_failures :] if self.rules.same_failures else []
        if self.rules.fail_fast:
            self.end("a trial failed, and the first failure was to stop the study")
        elif len(latest) == self.rules.same_failures > 0 and len(set(latest)) == 1:
            self.end(f"{len(latest)} trials in a row failed in one way ({ending})")


def _inode(folder: Path) -> int | None:
    """Return what tells a folder from another one that has come into its place."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None
