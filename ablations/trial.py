"""One attempt at a trial in its own process: take the folder's lock, train, leave a result or how it ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

from ablations.attempts import Ending, read_history, record_end, record_start, result_of
from deepsight.config import RunConfig
from deepsight.data.of_run import source_for
from deepsight.errors import DamagedError, UserError
from deepsight.plug_ins import load_plugins
from deepsight.training.folder import RunFolder
from deepsight.training.lock import LockedError
from deepsight.training.loop import DivergedError
from deepsight.training.names import CHECKPOINT_FILE, HEARTBEAT_FILE, LOG_FILE, METRICS_FILE, RESULT_FILE

# Exit codes by which who started the process tells the ways to end apart.
DONE, FAILED, STOPPED, BUSY = 0, 1, 3, 4

BEAT_SECONDS = 0.5
LONGEST_MESSAGE, LONGEST_TRACEBACK = 500, 20_000


@dataclass(frozen=True)
class Assignment:
    """What a process is told to do.

    Attributes:
        folder: of the trial, holding its configuration.
        plugins: files to load first.
        driver: id of the driver, for the record.
        parent: process id of who watches this one; the trial does not outlive it.
        devices: the CUDA devices that the process may see, as CUDA_VISIBLE_DEVICES; None for all.
        corpus: the folder of the run's packed corpus, where this machine has it; else it is found, or packed, anew.

    """

    folder: Path
    plugins: tuple[Path, ...]
    driver: str
    parent: int
    devices: str | None = None
    corpus: Path | None = None


def main(assignment: Assignment) -> None:
    """Make one attempt and exit with one of the codes above; the entry point of a worker process."""
    _end_with(assignment.parent)
    if assignment.devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = assignment.devices
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = FAILED
    try:
        code = attempt(assignment, stop)
    except Exception as error:  # noqa: BLE001 - nothing of it may be lost
        # The folder itself cannot be used, so the reason cannot be left there.
        print(f"{assignment.folder}: {message_of(error)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Straight out: nothing that a plug-in left behind may hold the process up.
    os._exit(code)


def attempt(assignment: Assignment, stop: threading.Event) -> int:
    """Train the trial of a folder as far as it goes and return one of the codes above."""
    run = RunFolder(assignment.folder)
    try:
        with run.locked():
            _log_to(run.path / LOG_FILE)
            if result_of(run.path) is not None:
                return DONE
            return _recorded(run, assignment, stop)
    except LockedError:
        return BUSY


def _recorded(run: RunFolder, assignment: Assignment, stop: threading.Event) -> int:
    started = False
    try:
        load_plugins(assignment.plugins)
        config = _with_smaller_parts(run)
        record_start(run.path, assignment.driver, config.runtime.micro_batch_size)
        started = True
        (run.path / RESULT_FILE).unlink(missing_ok=True)
        ending = _trained(run, config, assignment.corpus, stop)
        record_end(run.path, ending)
    except Exception as error:  # noqa: BLE001 - whatever a trial dies of is reported, and stops only this trial
        traceback.print_exc()
        if not started:
            record_start(run.path, assignment.driver, None)
        trace = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
        record_end(run.path, kind_of(error), message_of(error), trace)
        return FAILED
    return DONE if ending is Ending.DONE else STOPPED


def _with_smaller_parts(run: RunFolder) -> RunConfig:
    """Return the run's configuration, with smaller micro-batches where earlier attempts ran out of memory."""
    config = run.config()
    micro = read_history(run.path).micro_batch_size(config.runtime.micro_batch_size, config.training.batch_size)
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"micro_batch_size": micro})})


def _trained(run: RunFolder, config: RunConfig, packed: Path | None, stop: threading.Event) -> Ending:
    source = source_for(config.data, packed, show=False)
    alive = _Heart(run.path / HEARTBEAT_FILE).beat
    try:
        result = run.prepare(config, source, alive=alive).run(stop.is_set)
    except DamagedError as error:
        # What an earlier attempt left cannot be gone on from; nothing is lost but its time.
        print(f"{error}; the trial begins anew", file=sys.stderr)
        for name in (CHECKPOINT_FILE, METRICS_FILE):
            (run.path / name).unlink(missing_ok=True)
        result = run.prepare(config, source, alive=alive).run(stop.is_set)
    return Ending.STOPPED if result is None else Ending.DONE


class _Heart:
    """Touches a file while training goes on, a few times a second at most."""

    def __init__(self, file: Path) -> None:
        self.file, self.last = file, 0.0
        file.touch()

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.last > BEAT_SECONDS:
            self.last = now
            os.utime(self.file)


def message_of(error: BaseException) -> str:
    """Return one sentence on what a trial died of."""
    message = f"{error}" if isinstance(error, UserError | DivergedError) else f"{type(error).__name__}: {error}"
    return message.strip().partition("\n")[0][:LONGEST_MESSAGE]


def kind_of(error: BaseException) -> Ending:
    """Return the way to end that an exception means."""
    if isinstance(error, DivergedError):
        return Ending.DIVERGED
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if out_of_memory or (isinstance(error, RuntimeError) and "not enough memory" in str(error)):
        return Ending.OUT_OF_MEMORY
    return Ending.CRASHED


def _end_with(parent: int) -> None:
    """End this process as soon as its parent is gone, also when that was killed."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)

    def watch() -> None:
        while _is_alive(parent):
            time.sleep(BEAT_SECONDS)
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _log_to(file: Path) -> None:
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
