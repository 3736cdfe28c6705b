"""What a run would use here when nothing is said, and why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from deepsight.attention import A100, chosen_backend, obstacle
from deepsight.doctor.finding import Finding
from deepsight.machine import usable_cores, version_of
from deepsight.products import chosen_products
from deepsight.training.device import chosen_device, chosen_precision

HEAD_WIDTH = 64
"""Of the attention that is asked about; narrower heads are padded."""


def choices() -> Iterator[Finding]:
    """Yield what `auto` means here."""
    device = chosen_device("auto")
    why = "the first CUDA device" if device.type == "cuda" else "there is no CUDA device that torch can use"
    yield Finding("device", str(device), why)
    yield from _precision(device)
    yield _attention(device)
    yield _compiling(device)
    cores = usable_cores()
    yield Finding(
        "workers of a study",
        f"as many as fit: at most {cores} at once" if device.type == "cpu" else "as many as fit on the devices",
        "two workers with one thread each are usually faster than one with two" if device.type == "cpu" else "",
    )


def _precision(device: torch.device) -> Iterator[Finding]:
    dtype = chosen_precision("auto", device)
    if device.type == "cpu":
        yield Finding("precision", "float32", "the default on a CPU; training.precision: bfloat16 is slower on most")
        by_onednn = chosen_products() == "onednn"
        why = "an AMD processor with AVX-512, of which MKL uses half" if by_onednn else "torch's own"
        yield Finding("matrix products in float32", "oneDNN" if by_onednn else "BLAS", why)
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        advice = "this device has no bfloat16 arithmetic: set training.precision to float32"
        yield Finding("precision", str(dtype).removeprefix("torch."), "emulated, and slow", advice)
    else:
        yield Finding("precision", f"{str(dtype).removeprefix('torch.')} autocast", "weights and losses stay float32")
    yield Finding("matrix products in float32", "TF32", "torch.set_float32_matmul_precision('high')")


def _attention(device: torch.device) -> Finding:
    torchs = "torch's scaled dot-product attention"
    if device.type == "cpu":
        return Finding("attention", torchs, "xformers runs on CUDA only")
    if chosen_backend(device) == "sdpa":
        if torch.cuda.get_device_capability(device) != A100:
            return Finding(
                "attention", torchs, "auto is xformers on an A100 alone; runtime.attention: xformers forces it"
            )
        advice = "pip install xformers, of the release that fits this torch"
        return Finding("attention", torchs, "xformers is not installed", advice)
    reason = obstacle(device, chosen_precision("auto", device), HEAD_WIDTH, gradient=True)
    if reason is None:
        return Finding("attention", f"xformers {version_of('xformers')}", "this is an A100, and it takes our tensors")
    advice = "install the xformers release that was built for this torch and CUDA"
    return Finding("attention", torchs, f"xformers cannot run here: {reason}", advice)


def _compiling(device: torch.device) -> Finding:
    needed = "triton" if device.type == "cuda" else "a C++ compiler"
    there = find_spec("triton") is not None if device.type == "cuda" else any(map(shutil.which, ("g++", "clang++")))
    if not there:
        return Finding("runtime.compile", "not possible", f"torch.compile needs {needed}")
    return Finding(
        "runtime.compile", "possible, off unless asked for", "compiling takes its time before the first step"
    )
