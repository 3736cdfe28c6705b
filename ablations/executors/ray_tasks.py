"""Trials as tasks of a Ray cluster: each task makes the attempt that this machine's supervisor would make.

The study's folder lies on storage that all nodes see, which is probed first. A task is never repeated by Ray: what
became of an attempt is read from the trial's folder, and the rules for failures are those of every other executor.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ablations.attempts import Ending, read_history, record_end, record_start, result_of
from ablations.executors.ray_cluster import check_room, connected, probe_storage, reason_of
from ablations.executors.shared import shared_plugins
from ablations.plan import Trial
from ablations.row_reader import RowReader
from ablations.stored import trial_folder
from ablations.supervisor import POLL_SECONDS, new_driver, template
from ablations.trial import Assignment
from ablations.trial_process import Conclusion, Limits, TrialProcess
from ablations.trial_queue import ASKED, Rules, TrialQueue, Watcher
from deepsight.files import TEMPORARY
from deepsight.training.lock import LockedError, locked
from deepsight.training.names import ATTEMPTS_FILE, CONFIG_FILE, METRICS_FILE
from deepsight.validation import Strict

LOST_SECONDS = 5.0
"""How long to wait for the lock of an attempt whose node is gone; after that the trial is left alone for a while."""
VISIBLE_SECONDS = 10.0
"""How long what the driver wrote may take to be seen on a node."""


class RayOptions(Strict):
    """What `--executor-option` may say for Ray.

    Attributes:
        address: of a running cluster: `auto` on one of its nodes, or HOST:PORT; None starts Ray on this machine.
        cpus_per_trial, gpus_per_trial: what a trial is given; a quarter of a GPU packs four trials on one. None for
            one GPU where the cluster has any and the trials may use them.
        most_at_once: tasks handed to Ray at a time; None for twice as many as the cluster has CPUs for.

    """

    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: Annotated[float | None, Field(ge=0)] = None
    most_at_once: Annotated[int | None, Field(ge=1)] = None


@dataclass(frozen=True)
class Task:
    """What a node is told.

    Attributes:
        trial: which one.
        folder: the trial's, as every node sees it.
        plugins: files that it loads.
        driver: id of the driver, for the record.
        limits: what the process may do.
        flag: a file whose appearance asks the trial to leave a checkpoint and end.
        gpus: what Ray gives the trial, maybe a part of one.
        corpus: the folder of its packed corpus, where the node sees it.

    """

    trial: Trial
    folder: Path
    plugins: tuple[Path, ...]
    driver: str
    limits: Limits
    flag: Path
    gpus: float = 0.0
    corpus: Path | None = None


@dataclass
class RayExecutor:
    """Runs the trials of a study that have no result yet on a Ray cluster.

    Args:
        folder: of the study, as every node sees it.
        plugins: files every trial loads; of those that the study's folder keeps a copy of, nodes load the copy.
        watcher: told of everything.
        rules: for failures.
        options: of the cluster.
        corpora: gives the folder of a trial's packed corpus, None where that is not known.

    """

    folder: Path
    plugins: tuple[Path, ...]
    watcher: Watcher
    rules: Rules = field(default_factory=Rules)
    options: RayOptions = field(default_factory=RayOptions)
    corpora: Callable[[Trial], Path | None] = lambda trial: None
    driver: str = field(default_factory=new_driver)
    queue: TrialQueue = field(init=False)
    _running: dict[Any, _Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        self.queue = TrialQueue(self.folder, self.watcher, self.rules)
        self._flag = self.folder / f".stop-{self.driver}{TEMPORARY}"

    @property
    def stopped(self) -> str | None:
        """Why it ended early: "asked", or the sentence of the rule that ended the study; None where it did not."""
        return self.queue.stopped

    def run(self, trials: list[Trial], stop: Callable[[], bool] = lambda: False) -> bool:
        """Run trials to their ends; return False where it ended early: each trial leaves a checkpoint.

        Raises:
            UserError: Ray cannot be used, a node does not see the study's folder, or the folder is gone.

        """
        ray = connected(self.options.address)
        self.queue.fill(trials)
        gpus = self._gpus(ray, trials)
        check_room(ray, self.options.cpus_per_trial, gpus)
        probe_storage(ray, self.folder)
        queue = self.queue
        try:
            while queue or self._running:
                if queue.stopped is None and stop():
                    queue.end(ASKED)
                queue.check_folder()
                self._ask_to_stop(ray)
                self._submit(ray, gpus)
                ended, _ = ray.wait(list(self._running), timeout=POLL_SECONDS) if self._running else ([], None)
                self._follow()
                for reference in ended:
                    running = self._running.pop(reference)
                    queue.conclude(running.trial, self._conclusion(ray, reference, running))
                if not self._running:
                    time.sleep(POLL_SECONDS)
                self.watcher.waiting()
        finally:
            for reference in self._running:
                ray.cancel(reference, force=True)
            self._flag.unlink(missing_ok=True)
        return queue.stopped is None

    def _gpus(self, ray: Any, trials: list[Trial]) -> float:
        """Return how many GPUs a trial is given."""
        if self.options.gpus_per_trial is not None:
            return self.options.gpus_per_trial
        wanted = any(trial.config.runtime.device != "cpu" for trial in trials)
        return 1.0 if wanted and ray.cluster_resources().get("GPU") else 0.0

    def _submit(self, ray: Any, gpus: float) -> None:
        """Hand waiting trials to Ray, a few more than it has room for."""
        options = self.options
        most = options.most_at_once or max(1, int(2 * ray.cluster_resources().get("CPU", 1.0) / options.cpus_per_trial))
        remote = ray.remote(attempt_on_node).options(
            num_cpus=options.cpus_per_trial, num_gpus=gpus, max_retries=0, name="deepsight trial"
        )
        plugins = shared_plugins(self.folder, self.plugins)
        while len(self._running) < most and (trial := self.queue.next()) is not None:
            if not self.queue.configured(trial):
                continue
            folder, corpus = trial_folder(self.folder, trial.id), self.corpora(trial)
            task = Task(trial, folder, plugins, self.driver, self.rules.limits, self._flag, gpus, corpus)
            rows, attempts = RowReader(folder / METRICS_FILE), _size(folder / ATTEMPTS_FILE)
            self._running[remote.remote(task)] = _Running(trial, folder, rows, attempts)

    def _ask_to_stop(self, ray: Any) -> None:
        """Once no more trials are to run: have those that do leave checkpoints, and drop those that still wait."""
        if self.queue.stopped is None or self._flag.exists():
            return
        self._flag.touch()
        for reference, running in self._running.items():
            if not running.begun:
                ray.cancel(reference)

    def _follow(self) -> None:
        """Tell of the trials that have begun, and of what they have recorded."""
        for running in self._running.values():
            if not running.told and running.begun:
                running.told = True
                self.watcher.started(running.trial)
            for row in running.rows.new():
                self.watcher.advanced(running.trial, row)

    def _conclusion(self, ray: Any, reference: Any, running: _Running) -> Conclusion:
        try:
            found: Conclusion = ray.get(reference)
        except ray.exceptions.TaskCancelledError:
            found = Conclusion(Ending.STOPPED)
        except ray.exceptions.RayError as error:
            # The node or the task's worker is gone, and the attempt with it.
            for_memory = isinstance(error, ray.exceptions.OutOfMemoryError)
            ending = Ending.OUT_OF_MEMORY if for_memory else Ending.LOST
            found = conclude_lost(self.driver, running.folder, ending, reason_of(error), begun=running.begun)
        return found


@dataclass
class _Running:
    """A task as the driver sees it; `size` is that of the file of attempts when it was handed to Ray."""

    trial: Trial
    folder: Path
    rows: RowReader
    size: int
    told: bool = False

    @property
    def begun(self) -> bool:
        return _size(self.folder / ATTEMPTS_FILE) > self.size


def attempt_on_node(task: Task) -> Conclusion:
    """On a node: make one attempt at a trial in a process of its own, and return how it ended."""
    _await_configuration(task.folder)
    if task.flag.exists():
        return Conclusion(Ending.STOPPED)
    # Ray names the GPUs that this task was given; without any it leaves the variable as it is.
    devices = os.environ.get("CUDA_VISIBLE_DEVICES") if task.gpus else ""
    assignment = Assignment(task.folder, task.plugins, task.driver, os.getpid(), devices, task.corpus)
    process = TrialProcess(template(), task.trial, assignment, task.limits)
    try:
        while not process.ended:
            multiprocessing.connection.wait([process.sentinel], timeout=POLL_SECONDS)
            process.watch()
            if task.flag.exists():
                process.stop()
    except BaseException:
        process.kill()
        raise
    return process.conclude()


def conclude_lost(driver: str, folder: Path, ending: Ending, reason: str, *, begun: bool) -> Conclusion:
    """Record how an attempt ended whose task left no answer, once nobody works at the trial any more.

    Args:
        driver: id of the driver, for the record.
        folder: of the trial.
        ending: to record, where the attempt left none.
        reason: one sentence.
        begun: whether the attempt had been recorded.

    """
    limit = time.monotonic() + LOST_SECONDS
    message = f"{reason} (seen from {platform.node()})"
    while time.monotonic() < limit:
        try:
            with locked(folder):
                last = read_history(folder).last
                if result_of(folder) is not None:
                    return Conclusion(Ending.DONE)
                if begun and last is not None and last.ending is not None and last.recorded:
                    return Conclusion(last.ending, last.message)
                if not begun:
                    record_start(folder, driver, None)
                record_end(folder, ending, message)
            return Conclusion(ending, message)
        except LockedError:
            time.sleep(POLL_SECONDS)
    return Conclusion(None)


def _await_configuration(folder: Path) -> None:
    """Wait until this node sees what the driver wrote: without it, an attempt would go into a folder of its own."""
    limit = time.monotonic() + VISIBLE_SECONDS
    while not (folder / CONFIG_FILE).is_file():
        if time.monotonic() > limit:
            raise FileNotFoundError(f"the node {platform.node()} does not see {folder / CONFIG_FILE}")
        time.sleep(POLL_SECONDS)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
