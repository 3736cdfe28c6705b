"""What a run ran with: code, versions, machine. Recorded beside the run, never part of its identity."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from deepsight.machine import processor, version_of
from deepsight.plug_ins import loaded_plugins

PACKAGES = ("deepsight", "torch", "xformers", "numpy", "tiktoken", "datasets", "safetensors")


def provenance(device: torch.device) -> dict[str, Any]:
    """Return commit, versions, device, threads and host of this process."""
    return {
        **_commit(),
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "platform": platform.platform(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "plugins": {path.name: digest for path, digest in loaded_plugins().items()},
    }


@functools.cache
def _commit() -> dict[str, Any]:
    """Return the commit of the checkout this code runs from, and whether it was changed since; None outside one.

    As it was when this process, or the one that it was forked from, first asked: what has been imported by then.
    """
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return {"commit": None, "uncommitted_changes": None}
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, env=environment, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": None if status is None else bool(status)}
