"""Which device, precision and threads a run uses here."""

from __future__ import annotations

import contextlib

import torch

from deepsight import machine
from deepsight.config import RunConfig
from deepsight.errors import UserError


def chosen_device(wanted: str) -> torch.device:
    """Return the device of `runtime.device`; auto is CUDA where there is one.

    Raises:
        UserError: CUDA is asked for and there is none.

    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("this machine has no CUDA device that torch can use; known: auto, cpu", ("runtime", "device"))
    return torch.device(wanted)


def chosen_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Return the number format of matrix products; auto is bfloat16 on CUDA and float32 elsewhere."""
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]


def autocast(config: RunConfig, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context in which forward passes run; it can be entered again and again."""
    dtype = chosen_precision(config.training.precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def prepare(config: RunConfig) -> torch.device:
    """Set torch's threads and matrix precision for a run and return its device."""
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    device = chosen_device(config.runtime.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return device


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held so far: of the device on CUDA, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return machine.peak_memory()
