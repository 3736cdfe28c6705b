"""Where the time of a training step goes, and how near it is to what the machine can multiply.

Three lines a system, each a share of the step: the time inside matrix products; the time that they would take at the
speed of one large product, asked for as this project does; and the time inside attention where that is one operator,
whose products torch's counter leaves out.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Comparison, Job, in_turn, quartiles
from benchmarks.options import Options
from benchmarks.systems import SYSTEMS, System
from deepsight.products import linear

NAMES = (
    ("DeepSight", "plain original", None),
    ("baseline", "GPT-2 of transformers", None),
)
PRODUCTS = ("mm", "addmm", "addmm_", "bmm", "baddbmm", "mkldnn_convolution", "convolution_backward")
"""Operators that multiply matrices; attention has products inside, and is counted by itself."""
SIZE = 2048
"""Of the square matrices whose product sets the speed."""


def run(options: Options) -> Iterator[Comparison]:
    """Look into each system's step."""
    for shape in options.shapes:
        systems = {name: SYSTEMS[name](shape, options.device) for name in options.systems(NAMES)}
        square = torch.randn(SIZE, SIZE, device=options.device)
        jobs: dict[str, Job] = {"product": functools.partial(linear, square, square)}
        jobs |= {name: system.step for name, system in systems.items()}
        seconds = in_turn(jobs, options.repeats, options.device)
        peak = 2 * SIZE**3 / statistics.median(seconds["product"])
        for name, system in systems.items():
            step = statistics.median(seconds[name])
            inside = _inside(system, options)
            yield _share(shape.name, name, "inside products, share of a step", [inside["products"] * step], step)
            what = f"products at {peak / 1e9:,.0f} GFLOP/s, share of a step"
            yield _share(shape.name, name, what, [_operations(system) / peak], step)
            yield _share(shape.name, name, "inside attention, share of a step", [inside["attention"] * step], step)


def _share(shape: str, name: str, what: str, seconds: list[float], step: float) -> Comparison:
    low, middle, high = quartiles([value / step for value in seconds])
    return Comparison(
        "profile", shape, what, name, "its step", seconds[0], step, "s", middle, low, high, None, "at most"
    )


def _inside(system: System, options: Options) -> dict[str, float]:
    """Return the shares of a step's own time that matrix products and attention take."""
    cuda = options.device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        system.step()
    own = {
        event.key.removeprefix("aten::"): event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in seen.key_averages()
    }
    parts = {
        "products": sum(time for name, time in own.items() if name in PRODUCTS),
        "attention": sum(time for name, time in own.items() if "attention" in name),
    }
    return {part: time / sum(own.values()) for part, time in parts.items()}


def _operations(system: System) -> int:
    """Return the floating-point operations of a step's products, multiply and add counted apart."""
    with FlopCounterMode(display=False) as counter:
        system.step()
    return int(counter.get_total_flops())
