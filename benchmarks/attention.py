"""Which attention is faster on a GPU: xformers' memory-efficient one, or torch's scaled dot-product attention."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from benchmarks.measuring import Comparison, in_turn, speed
from benchmarks.options import Options
from deepsight.attention import Backend, attend, obstacle, use_backend

HEADS = {"self-attention of the published model": (5, 30), "its cross-attention": (10, 15), "heads of 64": (12, 64)}
"""Number of heads and their width."""

LAYERS = 26
"""Passes that are timed together."""


def run(options: Options) -> Iterator[Comparison]:
    """Time forward and backward passes of both in turn, in bfloat16; on a CPU there is one only, and nothing to say."""
    if not options.device.startswith("cuda"):
        return
    for shape in options.shapes:
        for what, (heads, width) in HEADS.items():
            if obstacle(torch.device(options.device), torch.bfloat16, width, gradient=True) is not None:
                continue
            size = (shape.batch, shape.context, heads, width)
            parts = [torch.randn(size, device=options.device, dtype=torch.bfloat16).requires_grad_() for _ in range(3)]
            backends: dict[str, Backend] = {"xformers": "xformers", "torch": "sdpa"}
            jobs = {name: functools.partial(_passes, parts, backend) for name, backend in backends.items()}
            seconds = in_turn(jobs, options.repeats, options.device)
            yield speed("attention", shape.name, f"{LAYERS} times {what}", seconds, "xformers", "torch")


def _passes(parts: list[torch.Tensor], backend: Backend) -> None:
    with use_backend(backend):
        for _ in range(LAYERS):
            attend(*parts).sum().backward()  # type: ignore[no-untyped-call]
