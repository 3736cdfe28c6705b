"""One trial in its own process: take the folder's lock, train, leave a result or a failure."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from deepsight.data.of_run import pack_for
from deepsight.errors import UserError
from deepsight.files import write_json
from deepsight.plug_ins import load_plugins
from deepsight.training.folder import LockedError, RunFolder
from deepsight.training.loop import DivergedError
from deepsight.training.names import FAILURE_FILE, LOG_FILE

# Exit codes by which the supervisor tells the ways to end apart.
DONE, FAILED, STOPPED, BUSY = 0, 1, 3, 4


def main(folder: Path, plugins: list[Path], supervisor: int) -> None:
    """Run the trial of a folder and exit with one of the codes above; the entry point of a worker process.

    Args:
        folder: the trial's, holding its configuration.
        plugins: files to load first.
        supervisor: process id of the supervisor; the trial does not outlive it.

    """
    _end_with(supervisor)
    _log_to(folder / LOG_FILE)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run = RunFolder(folder)
    try:
        with run.locked():
            code = _run(run, plugins, stop)
    except LockedError:
        code = BUSY
    sys.stdout.flush()
    sys.stderr.flush()
    # Straight out: nothing that a plug-in left behind may hold the process up.
    os._exit(code)


def _run(folder: RunFolder, plugins: list[Path], stop: threading.Event) -> int:
    if folder.result() is not None:
        return DONE
    (folder.path / FAILURE_FILE).unlink(missing_ok=True)
    try:
        load_plugins(plugins)
        config = folder.config()
        corpus = pack_for(config.data, show=False)
        return STOPPED if folder.prepare(config, corpus).run(stop.is_set) is None else DONE
    except Exception as error:  # noqa: BLE001 - whatever a trial dies of is reported, and stops only this trial
        traceback.print_exc()
        write_json(folder.path / FAILURE_FILE, failure(error))
        return FAILED


def failure(error: BaseException) -> dict[str, Any]:
    """Say what a trial died of: its kind, one sentence, and where."""
    message = f"{error}" if isinstance(error, UserError | DivergedError) else f"{type(error).__name__}: {error}"
    return {
        "kind": _kind(error),
        "message": message.strip().partition("\n")[0][:500],
        "traceback": "".join(traceback.format_exception(error))[-20_000:],
    }


def _kind(error: BaseException) -> str:
    if isinstance(error, DivergedError):
        return "diverged"
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if out_of_memory or (isinstance(error, RuntimeError) and "not enough memory" in str(error)):
        return "out of memory"
    return "crashed"


def _end_with(supervisor: int) -> None:
    """End this process as soon as the supervisor is gone, also when that was killed."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)

    def watch() -> None:
        while _is_alive(supervisor):
            time.sleep(0.5)
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
