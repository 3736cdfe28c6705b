"""DeepSight beside what its users would otherwise run, in one run, as ratios: `deepsight bench`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measuring import Comparison
    from benchmarks.options import Options

BENCHMARKS = {
    "step": "the time of a training step",
    "memory": "the peak memory of training",
    "generate": "the time to generate text",
    "data": "tokenising, packing, and loading batches",
    "sweep": "what a study's trials cost beside their training",
    "objectives": "what the future loss costs",
    "startup": "the time until the command line answers",
    "products": "what multiplies matrices faster on a CPU, and the next-token loss with it",
    "profile": "where a step's time goes",
    "attention": "xformers' attention beside torch's, on a GPU",
}
"""What can be measured: a module of this package each."""


def run(name: str, options: Options) -> Iterator[Comparison]:
    """Run one of `BENCHMARKS` and yield what it found, line by line."""
    return iter(importlib.import_module(f"benchmarks.{name}").run(options))
