"""Runs trials on this machine: each in a fresh process of its own, a few at a time, whatever becomes of the others.

The processes come from a template (multiprocessing's fork server) that has imported torch once and started no thread,
so a trial does not pay for the import. They end with the supervisor. Nothing but the files says which trial is done,
and the kernel's lock on a trial's folder who works at it: several supervisors on one study share its trials.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

from ablations.places import Need, Place, Places
from ablations.plan import Trial
from ablations.stored import trial_folder
from ablations.trial import Assignment
from ablations.trial_process import TrialProcess
from ablations.trial_queue import ASKED, Rules, TrialQueue, Watcher

POLL_SECONDS = 0.1
TEMPLATE = ["ablations.warm"]


@dataclass
class Supervisor:
    """Runs the trials of a study that have no result yet.

    Args:
        folder: of the study.
        places: where trials run, and how many at once.
        plugins: files every trial loads.
        watcher: told of everything.
        rules: for failures.
        need: gives what a trial holds at its peak.
        corpora: gives the folder of a trial's packed corpus, None where that is not known.

    """

    folder: Path
    places: Places
    plugins: tuple[Path, ...]
    watcher: Watcher
    rules: Rules = field(default_factory=Rules)
    need: Callable[[Trial], Need] = lambda trial: Need()
    corpora: Callable[[Trial], Path | None] = lambda trial: None
    driver: str = field(default_factory=lambda: new_driver())
    queue: TrialQueue = field(init=False)
    _running: list[tuple[TrialProcess, Place]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = TrialQueue(self.folder, self.watcher, self.rules)

    @property
    def stopped(self) -> str | None:
        """Why it ended early: "asked", or the sentence of the rule that ended the study; None where it did not."""
        return self.queue.stopped

    def run(self, trials: list[Trial], stop: Callable[[], bool] = lambda: False) -> bool:
        """Run trials to their ends; return False where it ended early: each trial leaves a checkpoint.

        Raises:
            UserError: the study's folder is gone.

        """
        queue, context = self.queue, template()
        queue.fill(trials)
        try:
            while queue or self._running:
                if queue.stopped is None and stop():
                    queue.end(ASKED)
                queue.check_folder()
                self._start(context)
                multiprocessing.connection.wait([one.sentinel for one, _ in self._running], timeout=POLL_SECONDS)
                for process, place in list(self._running):
                    process.watch()
                    for row in process.rows.new():
                        self.watcher.advanced(process.trial, row)
                    if process.ended:
                        self._running.remove((process, place))
                        self.places.give_back(place)
                        queue.conclude(process.trial, process.conclude())
                if queue.stopped is not None:
                    self.ask_to_stop()
                self.watcher.waiting()
        finally:
            for process, _ in self._running:
                process.kill()
        return queue.stopped is None

    def ask_to_stop(self) -> None:
        """Ask every running trial to leave a checkpoint and end."""
        for process, _ in self._running:
            process.stop()

    def stop_now(self, seconds: float) -> None:
        """Ask every running trial to leave a checkpoint and end, and wait for that; from within a signal handler."""
        self.ask_to_stop()
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not all(process.ended for process, _ in self._running):
            time.sleep(POLL_SECONDS)

    def _start(self, context: ForkServerContext) -> None:
        """Start waiting trials, in order, as far as there is room."""
        while not self.places.full and (trial := self.queue.next()) is not None:
            place = self.places.take(self.need(trial))
            if place is None:
                self.queue.put_back(trial)
                return
            if not self.queue.configured(trial):
                self.places.give_back(place)
                continue
            folder = trial_folder(self.folder, trial.id)
            devices = None if place.device is None else str(place.device)
            assignment = Assignment(folder, self.plugins, self.driver, os.getpid(), devices, self.corpora(trial))
            self._running.append((TrialProcess(context, trial, assignment, self.rules.limits), place))
            self.watcher.started(trial)


def new_driver() -> str:
    """Return an id for a driver: where it runs, and something that no other has."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"


def template() -> ForkServerContext:
    """Return the context whose processes are forked from a template that has imported what trials need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(TEMPLATE)
    return context


def warm_up() -> None:
    """Start the template, so that it imports while this process plans."""
    template()
    forkserver.ensure_running()
