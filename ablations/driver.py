"""One study from its file to its last trial: plan, run what is missing, and plan again once tuned values are known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ablations.attempts import read_history, result_of
from ablations.estimate import Measured, Measurements, seconds_of_trial, shape_of
from ablations.places import Need, Places, workers_that_fit
from ablations.plan import Outcome, Plan, Trial, plan_study
from ablations.running import data_key, prepare_study
from ablations.sharing import take_over
from ablations.stored import trial_folder, write_plan
from ablations.study_files import read_study
from ablations.supervisor import Supervisor
from ablations.trial_queue import Rules
from deepsight.data.packed import PackedCorpus
from deepsight.files import read_json, write_json
from deepsight.machine import free_memory, usable_cores
from deepsight.plug_ins import load_plugins

MEASURED_FILE = "measured.json"


@dataclass(frozen=True)
class Job:
    """A study to run, as any process on any machine can be told of it.

    Attributes:
        study: its file.
        folder: where its trials are.
        plugins: files that the trials load.
        command: how to repeat it.
        preset: that the study's base stands on instead of its own.

    """

    study: Path
    folder: Path
    plugins: tuple[Path, ...]
    command: str
    preset: str | None = None


class Executor(Protocol):
    """What runs trials: this machine's supervisor, or a cluster."""

    @property
    def stopped(self) -> str | None:
        """Why it ended early; None where it did not."""

    def run(self, trials: list[Trial], stop: Callable[[], bool] = ...) -> bool:
        """Run the trials that are to run; return False where it ended early, `stopped` then says why."""


@dataclass
class Driver:
    """A job under way in this process.

    Args:
        job: what to run.

    """

    job: Job
    measurements: Measurements = field(init=False)
    corpora: dict[str, PackedCorpus] = field(default_factory=dict)

    def __post_init__(self) -> None:
        load_plugins(self.job.plugins)
        self.study = read_study(self.job.study, self.job.preset)
        self.measurements = Measurements(self.job.plugins, _read_measured(self.job.folder / MEASURED_FILE))

    def plan(self) -> Plan:
        """Return the plan as it follows from the study and from the trials that have ended so far."""
        return plan_study(
            self.study,
            self.job.study,
            self.job.command,
            outcomes=self._outcome,
            seconds_per_token=self.measurements.seconds_per_token,
        )

    def prepare(self, plan: Plan) -> dict[str, Path]:
        """Write what describes the study, pack its corpora, and take over what studies beside it have finished.

        Returns:
            Trial → the folder of the study that it was taken from.

        Raises:
            UserError: the folder holds something else or cannot be written, or a corpus cannot be read.

        """
        self.corpora = prepare_study(plan, self.job.study, self.job.folder, self.job.plugins, self.job.preset)
        if self.measurements.known:
            write_json(self.job.folder / MEASURED_FILE, self.measurements.as_data())
        return take_over(self.job.folder, (trial.id for trial in plan.trials))

    def run(
        self,
        plan: Plan,
        executor: Executor,
        stop: Callable[[], bool] = lambda: False,
        replanned: Callable[[Plan], None] = lambda _: None,
    ) -> str | None:
        """Run a prepared plan to its end; return why it ended early, None where it did not.

        Args:
            plan: of this study.
            executor: runs its trials.
            stop: asked a few times a second.
            replanned: told of the plan that follows from tuned values.

        """
        while executor.run(plan.trials, stop) and plan.tuning_pending:
            known = {trial.id for trial in plan.trials}
            plan = self.plan()
            if {trial.id for trial in plan.trials} == known:
                break
            write_plan(self.job.folder, plan.study)
            take_over(self.job.folder, (trial.id for trial in plan.trials))
            replanned(plan)
        return executor.stopped

    def corpus(self, trial: Trial) -> Path | None:
        """Return the folder of a trial's packed corpus, once it is prepared."""
        packed = self.corpora.get(data_key(trial.config))
        return None if packed is None else packed.folder

    def need(self, trial: Trial) -> Need:
        """Return what a trial holds at its peak, as far as it was measured."""
        one = self.measurements.known.get(shape_of(trial.config), Measured())
        return Need(one.memory, one.device_memory)

    def places(self, plan: Plan, workers: int | None) -> Places:
        """Return where trials run on this machine: as many at once as asked for, or as fit its cores and memory."""
        largest = max((self.need(trial) for trial in plan.trials), key=lambda need: need.memory, default=Need())
        memory = free_memory()
        count = workers or workers_that_fit(usable_cores(), largest, memory)
        return Places(count, memory, _free_on_devices(plan))

    def seconds(self, plan: Plan, done: set[str]) -> float:
        """Return the estimated seconds of the trials that are not done, one after the other; NaN where not measured."""
        configs = [trial.config for trial in plan.trials if trial.id not in done]
        known = self.measurements.known
        return sum(seconds_of_trial(config, known.get(shape_of(config), Measured())) for config in configs)

    def _outcome(self, trial: str) -> Outcome:
        folder = trial_folder(self.job.folder, trial)
        result = result_of(folder)
        if result is not None:
            return float(result["validation_loss"])
        return "pending" if read_history(folder).may_run() else "failed"


def work(
    job: Job,
    workers: int | None = None,
    rules: Rules | None = None,
    stop: Callable[[], bool] = lambda: False,
    begun: Callable[[Supervisor], None] = lambda _: None,
) -> str | None:
    """Plan a study and run what is missing, without a word; return why it ended early, None where it did not.

    Any number of processes may do so at once for one folder that they all see.

    Args:
        job: what to run.
        workers: trials at a time; None for as many as fit.
        rules: for failures.
        stop: asked a few times a second.
        begun: told of the supervisor before it runs anything.

    """
    driver = Driver(job)
    plan = driver.plan()
    driver.prepare(plan)
    places = driver.places(plan, workers)
    supervisor = Supervisor(job.folder, places, job.plugins, Silent(), rules or Rules(), driver.need, driver.corpus)
    begun(supervisor)
    return driver.run(plan, supervisor, stop)


class Silent:
    """A watcher that says nothing."""

    def started(self, trial: Trial) -> None:
        """Say nothing."""

    def advanced(self, trial: Trial, row: dict[str, Any]) -> None:
        """Say nothing."""

    def finished(self, trial: Trial) -> None:
        """Say nothing."""

    def failed(self, trial: Trial, kind: str, message: str, *, again: bool) -> None:
        """Say nothing."""

    def waiting(self) -> None:
        """Say nothing."""


def _free_on_devices(plan: Plan) -> list[int]:
    """Return the bytes free on each CUDA device, where the plan's runs use one."""
    import torch

    from deepsight.training.device import chosen_device

    if not any(chosen_device(trial.config.runtime.device).type == "cuda" for trial in plan.trials):
        return []
    return [torch.cuda.mem_get_info(device)[0] for device in range(torch.cuda.device_count())]


def _read_measured(file: Path) -> dict[str, Measured]:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        return {shape: Measured(**one) for shape, one in read_json(file).items()}
    return {}
