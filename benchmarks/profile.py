"""Where the time of a training step goes, how near it is to what the machine can multiply; and where a token's goes.

Three lines a system, each a share of the step: the time inside matrix products; the time that they would take at the
speed of one large product, asked for as this project does; and the time inside attention where that is one operator,
whose products torch's counter leaves out. Two more for generating one text: there the rest is small operators, and the
Python between them.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measuring import Comparison, Job, in_turn
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
TOKENS = 64
"""Generated."""
PARTS = ("products", "attention")


def run(options: Options) -> Iterator[Comparison]:
    """Look into each system's step, and into its generating."""
    for shape in options.shapes:
        systems = {name: SYSTEMS[name](shape, options.device) for name in options.systems(NAMES)}
        square = torch.randn(SIZE, SIZE, device=options.device)
        jobs: dict[str, Job] = {"product": functools.partial(linear, square, square)}
        jobs |= {name: system.step for name, system in systems.items()}
        seconds = in_turn(jobs, options.repeats, options.device)
        peak = 2 * SIZE**3 / statistics.median(seconds["product"])
        for name, system in systems.items():
            step, own = statistics.median(seconds[name]), _own_seconds(system.step, options)
            inside = {part: own[part] / own["all"] * step for part in PARTS}
            yield _share(shape.name, name, "inside products, share of a step", inside["products"], step)
            what = f"products at {peak / 1e9:,.0f} GFLOP/s, share of a step"
            yield _share(shape.name, name, what, _operations(system) / peak, step)
            yield _share(shape.name, name, "inside attention, share of a step", inside["attention"], step)
            yield from _generating(shape.name, name, system, options)


def _generating(shape: str, name: str, system: System, options: Options) -> Iterator[Comparison]:
    job = functools.partial(system.generate, torch.zeros(1, 1, dtype=torch.long, device=options.device), TOKENS)
    whole = statistics.median(in_turn({name: job}, options.repeats, options.device)[name])
    own = _own_seconds(job, options)
    for part in PARTS:
        yield _share(shape, name, f"inside {part}, share of generating {TOKENS} tokens", own[part], whole)


def _share(shape: str, name: str, what: str, seconds: float, whole: float) -> Comparison:
    share = seconds / whole
    return Comparison(
        "profile", shape, what, name, "all of it", seconds, whole, "s", share, share, share, None, "at most"
    )


def _own_seconds(job: Job, options: Options) -> dict[str, float]:
    """Return the seconds that matrix products, attention, and all operators take of a job by themselves."""
    cuda = options.device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        job()
    own = {
        event.key.removeprefix("aten::"): (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e6
        for event in seen.key_averages()
    }
    return {
        "products": sum(seconds for name, seconds in own.items() if name in PRODUCTS),
        "attention": sum(seconds for name, seconds in own.items() if "attention" in name),
        "all": sum(own.values()),
    }


def _operations(system: System) -> int:
    """Return the floating-point operations of a step's products, multiply and add counted apart."""
    with FlopCounterMode(display=False) as counter:
        system.step()
    return int(counter.get_total_flops())
