"""Runs trials on this machine: each in a fresh process of its own, a few at a time, whatever becomes of the others.

The processes come from a template (multiprocessing's fork server) that has imported torch once and started no thread,
so a trial does not pay for the import. They end with the supervisor. Nothing but the files says which trial is done.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from ablations.plan import Trial
from ablations.stored import trial_folder
from ablations.trial import BUSY, DONE, STOPPED, main
from deepsight.files import read_json, write_json, write_text
from deepsight.training.names import CONFIG_FILE, FAILURE_FILE, METRICS_FILE, RESULT_FILE
from deepsight.yaml_files import dump_yaml

POLL_SECONDS = 0.25
BUSY_PAUSE_SECONDS = 2.0


class Watcher(Protocol):
    """What wants to know how the trials of a study come along."""

    def started(self, trial: Trial) -> None:
        """Tell that a trial's process was started."""

    def advanced(self, trial: Trial, row: dict[str, Any]) -> None:
        """Tell of a row that a running trial recorded."""

    def finished(self, trial: Trial) -> None:
        """Tell that a trial left its result."""

    def failed(self, trial: Trial, kind: str, message: str) -> None:
        """Tell that a trial ended without one."""

    def waiting(self) -> None:
        """Let time pass, a few times a second."""


@dataclass
class _Running:
    trial: Trial
    process: BaseProcess
    read: int = 0


@dataclass
class Supervisor:
    """Runs the trials of a study that have no result yet.

    Args:
        folder: of the study.
        workers: trials at a time.
        plugins: files every trial loads.
        watcher: told of everything.

    """

    folder: Path
    workers: int
    plugins: list[Path]
    watcher: Watcher
    _running: list[_Running] = field(default_factory=list)

    def run(self, trials: list[Trial], stop: Callable[[], bool] = lambda: False) -> bool:
        """Run trials to their ends; return False where `stop` asked to end early (each trial leaves a checkpoint)."""
        waiting = [trial for trial in trials if not is_done(self.folder, trial.id)]
        for trial in waiting:
            _write_config(trial_folder(self.folder, trial.id), trial)
        resting: list[tuple[float, Trial]] = []
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["ablations.trial"])
        asked = False
        while waiting or self._running or resting:
            if stop() and not asked:
                asked, waiting, resting = True, [], []
                for running in self._running:
                    running.process.terminate()
            now = time.monotonic()
            waiting += [trial for until, trial in resting if until <= now]
            resting = [(until, trial) for until, trial in resting if until > now]
            while waiting and len(self._running) < self.workers:
                self._start(context, waiting.pop(0))
            multiprocessing.connection.wait([one.process.sentinel for one in self._running], timeout=POLL_SECONDS)
            for running in list(self._running):
                self._read_rows(running)
                if not running.process.is_alive() and self._ended(running):
                    resting.append((time.monotonic() + BUSY_PAUSE_SECONDS, running.trial))
            self.watcher.waiting()
        return not asked

    def _start(self, context: multiprocessing.context.ForkServerContext, trial: Trial) -> None:
        folder = trial_folder(self.folder, trial.id)
        process = context.Process(target=main, args=(folder, self.plugins, os.getpid()), daemon=True)
        process.start()
        metrics = folder / METRICS_FILE
        self._running.append(_Running(trial, process, metrics.stat().st_size if metrics.is_file() else 0))
        self.watcher.started(trial)

    def _ended(self, running: _Running) -> bool:
        """Take note of a trial whose process has ended; True where another process holds it: to be asked again."""
        self._running.remove(running)
        trial, code = running.trial, running.process.exitcode
        running.process.close()
        file = trial_folder(self.folder, trial.id) / FAILURE_FILE
        if code == BUSY:
            return True
        if is_done(self.folder, trial.id):
            self.watcher.finished(trial)
            return False
        if code == STOPPED:
            return False
        if code is None or code < 0 or code == DONE or not file.is_file():
            write_json(file, {"kind": "lost", "message": _ending(code), "traceback": ""})
        found = read_json(file)
        self.watcher.failed(trial, found["kind"], found["message"])
        return False

    def _read_rows(self, running: _Running) -> None:
        file = trial_folder(self.folder, running.trial.id) / METRICS_FILE
        if not file.is_file():
            return
        with file.open("rb") as stream:
            # A resumed trial cuts its file back first.
            running.read = min(running.read, stream.seek(0, os.SEEK_END))
            stream.seek(running.read)
            *lines, _ = stream.read().split(b"\n")
        for line in lines:
            running.read += len(line) + 1
            try:
                self.watcher.advanced(running.trial, json.loads(line))
            except json.JSONDecodeError:
                continue


def is_done(folder: Path, trial: str) -> bool:
    """Say whether a trial is done: its result exists, and nothing else counts."""
    return (trial_folder(folder, trial) / RESULT_FILE).is_file()


def _write_config(folder: Path, trial: Trial) -> None:
    write_text(folder / CONFIG_FILE, dump_yaml(trial.config.complete()))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"the process ended with exit code {code} and left no result"
