"""What processes that torchrun started say to a person: one of them for all, or each for itself."""

from __future__ import annotations

import os
import signal
import time

from deepsight.errors import LostProcessError, UserError

SECONDS_TO_SPEAK_FIRST = 10.0
"""How long the others wait for the leading process, which will have found the same; torchrun ends them meanwhile."""


def rank_of_environment() -> int:
    """Return this process's number among those that torchrun started, 0 where it is alone."""
    return int(os.environ.get("RANK") or 0) if int(os.environ.get("WORLD_SIZE") or 1) > 1 else 0


def local_rank_of_environment() -> int:
    """Return this process's number among those on its machine."""
    return int(os.environ.get("LOCAL_RANK") or 0)


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
