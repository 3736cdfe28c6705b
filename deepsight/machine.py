"""What this machine has that is ours to use: cores, memory, processor, packages."""

from __future__ import annotations

import functools
import math
import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")
PROCESSOR = Path("/proc/cpuinfo")


def usable_cores() -> int:
    """Return the number of cores that this process may use, of its affinity and its control group; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cores_of_group()
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def cores_of_group(root: Path = CONTROL_GROUP) -> float | None:
    """Return how many cores' time the control group may take, such as a container's; None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)  # "max" is no number
    except (OSError, ValueError, ZeroDivisionError):
        return None


def free_memory() -> int | None:
    """Return the bytes that processes may still take on this machine, within this process' control group."""
    limits = [_bytes_in(Path("/proc/meminfo"), "MemAvailable"), left_in_group()]
    return min((limit for limit in limits if limit is not None), default=None)


def left_in_group(root: Path = CONTROL_GROUP) -> int | None:
    """Return what is left under the control group's limit; what the kernel keeps of files can be had back."""
    try:
        limit = int((root / "memory.max").read_text(encoding="ascii"))  # "max" is no number
        held = int((root / "memory.current").read_text(encoding="ascii"))
        lines = (root / "memory.stat").read_text(encoding="ascii").splitlines()
        files = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, StopIteration, ValueError):
        return None
    return max(0, limit - held + files)


def peak_memory() -> int:
    """Return the most bytes that this process has held in memory."""
    # Linux' resource usage also counts what the starting process held, so a small child of a large one has its size.
    peak = _bytes_in(Path("/proc/self/status"), "VmHWM")
    if peak is not None:
        return peak
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


@functools.cache
def processor() -> str:
    """Return the processor's name."""
    return _said_in(PROCESSOR, "model name") or platform.processor() or platform.machine()


def is_amd() -> bool:
    """Return whether the processor is one of AMD's."""
    return _said_in(PROCESSOR, "vendor_id") == "AuthenticAMD"


def instructions() -> list[str]:
    """Return the instruction sets of the processor, as Linux names them; none where they are not known."""
    return (_said_in(PROCESSOR, "flags") or "").split()


@functools.cache
def version_of(package: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _bytes_in(path: Path, key: str) -> int | None:
    """Return the bytes that a line such as `MemAvailable:  512 kB` tells."""
    said = _said_in(path, key)
    return None if said is None else 1024 * int(said.split()[0])


def _said_in(path: Path, key: str) -> str | None:
    """Return what a file of /proc says of a key, the first time that it names it."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), None)
