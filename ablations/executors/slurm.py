"""A study under Slurm: an array of worker loops on one folder, submitted and left alone.

Each loop is the ordinary driver without a word; the locks in the folder make them share its trials. A loop that is
preempted or runs into its time limit lets its trials leave their checkpoints, and is queued again (submitit).
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from ablations.driver import Job, work
from ablations.executors.shared import shared_plugins
from ablations.stored import STUDY_FILE
from ablations.supervisor import Supervisor, warm_up
from ablations.trial_queue import Rules
from deepsight.errors import UserError
from deepsight.validation import Strict, validated

SLURM_FOLDER = "slurm"
SIGNAL_SECONDS = 120
"""How long before its end a loop is told of it."""
STOP_SECONDS = 90.0
MOST_REQUEUED = 1000
PASSED_ON = "slurm_"


class SlurmOptions(Strict):
    """What `--executor-option` may say for Slurm; a key that begins with `slurm_` becomes an `#SBATCH` line.

    Attributes:
        loops: jobs of the array.
        workers: trials at a time in each; None for as many as fit what the job was given.
        partition: where to queue.
        time: minutes; a loop that needs more is queued again.
        memory: of each job, such as `16GB`.
        cpus_per_task, gpus_per_node: of each job.
        cluster: `slurm`; or `local` to try the same loops on this machine.

    """

    loops: Annotated[int, Field(ge=1)] = 1
    workers: Annotated[int | None, Field(ge=1)] = None
    partition: str | None = None
    time: Annotated[int, Field(ge=1)] = 240
    memory: str | None = None
    cpus_per_task: Annotated[int, Field(ge=1)] = 1
    gpus_per_node: Annotated[int | None, Field(ge=0)] = None
    cluster: Literal["slurm", "local"] = "slurm"
    _passed_on: dict[str, str | float] = PrivateAttr(default_factory=dict)

    @property
    def passed_on(self) -> dict[str, str | float]:
        """What becomes an `#SBATCH` line as it is."""
        return dict(self._passed_on)


def slurm_options(written: Mapping[str, Any]) -> SlurmOptions:
    """Return checked options; keys that begin with `slurm_` are passed on to Slurm as they are.

    Raises:
        UserError: another key is unknown, or a value does not fit.

    """
    own = {key: value for key, value in written.items() if not key.startswith(PASSED_ON)}
    options = validated(SlurmOptions, own)
    for key in written.keys() - own.keys():
        value = written[key]
        if not isinstance(value, str | int | float) or "\n" in str(value):
            raise UserError(f"an #SBATCH line holds one value, not {value!r}", (key,))
        options._passed_on[key.removeprefix(PASSED_ON)] = value
    return options


@dataclass
class Loop:
    """One job of the array: runs what is missing of a study until nothing is, alongside the others."""

    job: Job
    workers: int | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        self._supervisor: Supervisor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_supervisor": None}

    def __call__(self, position: int) -> str | None:
        """Run; `position` in the array tells loops apart and nothing else. Return why it ended early, if it did."""
        with _notices_blocked():
            # The trials are forked from this template: they are asked to stop by the loop, not by Slurm's notice,
            # which some clusters send to every process of a job and which would end them.
            warm_up()
        return work(self.job, self.workers, self.rules, begun=self._begun)

    def checkpoint(self, position: int) -> Any:
        """Before the job ends too early: have the trials leave their checkpoints, and return what to queue again."""
        import submitit

        if self._supervisor is not None:
            self._supervisor.stop_now(STOP_SECONDS)
        return submitit.helpers.DelayedSubmission(self, position)

    def _begun(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor


def submit(job: Job, rules: Rules, options: SlurmOptions) -> list[str]:
    """Queue the loops and return the ids of their jobs; the study goes on without this process.

    Raises:
        UserError: submitit is not installed, or there is no Slurm on this machine.

    """
    submitit = _submitit()
    if options.cluster == "slurm" and shutil.which("sbatch") is None:
        raise UserError("there is no Slurm on this machine (no sbatch); run this on a login node of the cluster")
    folder = _folder(job)
    if options.cluster == "slurm":
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=MOST_REQUEUED)
        executor.update_parameters(**_parameters(job, options))
    else:
        executor = submitit.LocalExecutor(folder=folder)
        executor.update_parameters(timeout_min=options.time)
    loop = Loop(_shared(job), options.workers, rules)
    return [str(one.job_id) for one in executor.map_array(loop, range(options.loops))]


def render(job: Job, options: SlurmOptions) -> str:
    """Return the script that Slurm is given, also where there is no Slurm."""
    _submitit()
    from submitit.slurm import slurm

    folder = _folder(job)
    command = shlex.join([sys.executable, "-u", "-m", "submitit.core._submit", str(folder)])
    text: str = slurm._make_sbatch_string(
        command=command, folder=folder, map_count=options.loops, **_parameters(job, options)
    )
    return text


def _folder(job: Job) -> Path:
    return job.folder.absolute() / SLURM_FOLDER


def _parameters(job: Job, options: SlurmOptions) -> dict[str, Any]:
    named = {
        "job_name": job.folder.absolute().name,
        "partition": options.partition,
        "time": options.time,
        "mem": options.memory,
        "cpus_per_task": options.cpus_per_task,
        "gpus_per_node": options.gpus_per_node,
    }
    return {
        **{key: value for key, value in named.items() if value is not None},
        "array_parallelism": options.loops,
        "signal_delay_s": SIGNAL_SECONDS,
        "additional_parameters": {"requeue": True, **options.passed_on},
    }


def _shared(job: Job) -> Job:
    """Return the job with absolute paths, and with the copies of its files that the study's folder keeps."""
    folder = job.folder.absolute()
    kept = folder / STUDY_FILE
    study = kept if kept.is_file() else job.study.absolute()
    return replace(job, study=study, folder=folder, plugins=shared_plugins(folder, job.plugins))


@contextlib.contextmanager
def _notices_blocked() -> Iterator[None]:
    """Have processes that start meanwhile never see the signals by which Slurm gives notice of an end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise UserError("submitit is not installed: pip install 'deepsight[slurm]'") from None
    return submitit
