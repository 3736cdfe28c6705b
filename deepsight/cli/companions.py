"""How processes that torchrun started speak to a person, one of them for all or each for itself, and how they end."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

from deepsight.errors import LostProcessError, UserError

SECONDS_TO_SPEAK_FIRST = 10.0
"""How long the others wait for the leading process, which will have found the same; torchrun ends them meanwhile."""


def rank_of_environment() -> int:
    """Return this process's number among those that torchrun started, 0 where it is alone."""
    return int(os.environ.get("RANK") or 0) if _among_others() else 0


def local_rank_of_environment() -> int:
    """Return this process's number among those on its machine."""
    return int(os.environ.get("LOCAL_RANK") or 0)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """When this block asks to exit, let a process among others do so before torch is torn down.

    A thread of torch's may be alive then, which now and then aborts a process whose work is done (torch 2.13, gloo);
    torchrun takes the run for a failure.
    """
    try:
        yield
    except SystemExit as end:
        if not _among_others() or isinstance(end.code, str):
            raise
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            # Closed, or read by nobody any more.
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(end.code or 0)


def _among_others() -> bool:
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def spoken(error: UserError) -> str:
    """Return what this process says of an error, once it is its turn."""
    rank = rank_of_environment()
    if isinstance(error, LostProcessError):
        # torchrun ends all once one has ended, and this has still to be said.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif rank:
        time.sleep(SECONDS_TO_SPEAK_FIRST)
    if rank == 0:
        return str(error)
    return f"process {rank}: {error}"
