"""What the machine has: processor, memory, devices, places to write, versions."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from deepsight.doctor.finding import Finding
from deepsight.files import cache_folder
from deepsight.machine import cores_of_group, free_memory, instructions, processor, usable_cores, version_of

NEEDED = ("torch", "xformers", "datasets", "tiktoken", "typer", "rich", "pandas", "seaborn", "numpy", "safetensors")
EXTRAS = {
    "ray": "ray",
    "slurm": "submitit",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
    "games": "open_spiel",
    "hf": "transformers",
    "harness": "lm_eval",
    "bench": "x-transformers",
}
"""Extra → the package that it brings."""
LITTLE_DISK = 5 * 2**30


def machine() -> Iterator[Finding]:
    """Yield what the machine has."""
    yield Finding("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}")
    cores = usable_cores()
    limited = f" of {os.cpu_count()}" if cores != os.cpu_count() else ""
    quota = ", limited by the control group" if cores_of_group() is not None else ""
    yield Finding("processor", f"{processor()}, {cores} cores usable{limited}{quota}, {_instructions()}")
    memory = free_memory()
    yield Finding("free memory", "not known" if memory is None else _size(memory))
    yield from devices()
    yield _disk("packed corpora", cache_folder())
    yield _disk("runs", Path.cwd())


def devices() -> Iterator[Finding]:
    """Yield each CUDA device, or why there is none."""
    if not torch.cuda.is_available():
        yield _no_device()
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        held = f"; {_size(total - free)} of it taken by others" if total - free > 2 * 2**30 else ""
        yield Finding(
            f"CUDA device {number}",
            f"{about.name}, compute capability {about.major}.{about.minor}, {_size(total)}{held}",
            advice="another process holds much of this device; choose another with CUDA_VISIBLE_DEVICES"
            if held
            else "",
        )


def versions() -> Iterator[Finding]:
    """Yield the versions of what a run needs, and of what extras bring."""
    yield Finding("deepsight", version_of("deepsight") or "not installed", advice="")
    found = {name: version_of(name) for name in NEEDED}
    yield Finding("packages", ", ".join(f"{name} {number}" for name, number in found.items() if number))
    if missing := [name for name, number in found.items() if number is None]:
        names = " ".join(missing)
        yield Finding("missing", names, advice=f"pip install {names}", failed=missing != ["xformers"])
    extras = {extra: version_of(package) for extra, package in EXTRAS.items()}
    yield Finding("extras", ", ".join(f"{name} {number}" for name, number in extras.items() if number) or "none")
    if absent := [name for name, number in extras.items() if number is None]:
        yield Finding("extras not installed", ", ".join(absent), why=f'pip install "deepsight[{absent[0]}]" brings one')


def _instructions() -> str:
    half = [name for name in ("amx_bf16", "avx512_bf16") if name in instructions()]
    return f"{torch.backends.cpu.get_cpu_capability()}{', ' + ' and '.join(half) if half else ', no bfloat16'}"


def _no_device() -> Finding:
    driver = Path("/proc/driver/nvidia/version").is_file() or shutil.which("nvidia-smi") is not None
    if not driver:
        return Finding("CUDA devices", "none")
    if torch.version.cuda is None:
        advice = "this torch is built for the CPU: install one built for CUDA, as pytorch.org says for your driver"
        return Finding("CUDA devices", "a driver is here, and torch cannot use it", advice=advice)
    advice = f"this torch is built for CUDA {torch.version.cuda}; the driver may be too old, or hide its devices"
    return Finding("CUDA devices", "a driver is here, and no device", advice=advice)


def _disk(about: str, folder: Path) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Finding(about, f"{folder}: not writable", advice="set DEEPSIGHT_CACHE to a folder that is", failed=True)
    advice = "little space is left; packed corpora and checkpoints may need more" if free < LITTLE_DISK else ""
    return Finding(about, f"{folder}, {_size(free)} free", advice=advice)


def _size(bytes_: int) -> str:
    return f"{bytes_ / 2**30:.1f} GiB"
