"""What the future loss costs, as a share of a training step.

The share is the time of the objective's own part of a step (its forward pass, its backward pass down to the encoder
output, and the addition of its gradient there) over the time of a step without it. The parts are timed in turn, again
and again, so that whatever else the machine does falls on all of them; before each timing the caches are swept, as the
layers of a network would do. As a check, whole steps with and without the published choice are timed in turn too.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator

import torch

from benchmarks.measuring import Comparison, in_turn, quartiles
from benchmarks.options import Options
from benchmarks.shapes import Shape
from benchmarks.systems import PUBLISHED_OBJECTIVE, Ours, run_of
from deepsight.building import build_objectives
from deepsight.objectives_of_run import Objectives
from deepsight.trace import Trace

HORIZONS = (3, 6, 11, 16, 26, 64)
AGGREGATORS = ("average", "decay", "normalized_decay")
TARGET = 0.02
CACHE_FLOATS = 16 * 2**20
"""More than any cache holds."""


def run(options: Options) -> Iterator[Comparison]:
    """Time a step without objective, and beside it the own part of each horizon and aggregator."""
    for shape in options.shapes:
        bench = Bench(shape, options.device)
        cells = {f"{kind}, n = {n}": bench.objectives(kind, n) for kind in AGGREGATORS for n in HORIZONS}
        jobs: dict[str, Callable[[], object]] = {"step": bench.without.step, "with it": bench.with_it.step}
        jobs |= {name: bench.only(objectives) for name, objectives in cells.items()}
        seconds = in_turn({name: bench.swept(job) for name, job in jobs.items()}, options.repeats, options.device)
        sweep = statistics.median(in_turn({"sweep": bench.swept(lambda: None)}, options.repeats)["sweep"])
        seconds = {name: [max(0.0, value - sweep) for value in values] for name, values in seconds.items()}
        step = statistics.median(seconds["step"])
        for name in cells:
            yield _share(shape, f"future loss ({name})", seconds[name], step, TARGET)
        more = [both - alone for both, alone in zip(seconds["with it"], seconds["step"], strict=True)]
        yield _share(shape, "whole steps with and without (decay, n = 11)", more, step, None)


def _share(shape: Shape, what: str, seconds: list[float], step: float, target: float | None) -> Comparison:
    low, middle, high = quartiles([value / step for value in seconds])
    median = statistics.median(seconds)
    return Comparison(
        "objectives", shape.name, what, "future loss", "step without", median, step, "s",
        middle, low, high, target, "at most",
    )  # fmt: skip


class Bench:
    """One network with a batch, and what is timed on it."""

    def __init__(self, shape: Shape, device: str) -> None:
        self.shape, self.device = shape, device
        self.without = Ours(shape, "deepsight", "none", device)
        self.with_it = Ours(shape, "deepsight", PUBLISHED_OBJECTIVE, device)
        with torch.no_grad():
            self.trace: Trace = self.without.model(self.without.inputs, self.without.targets)
        self._cache = torch.zeros(CACHE_FLOATS, device=device)

    def objectives(self, aggregator: str, n: int) -> Objectives:
        """Return the published objective with another horizon or aggregator."""
        config = run_of(self.shape, "deepsight", {"name": "future_context", "n": n, "aggregator": aggregator})
        return build_objectives(config, self.without.model.shape).to(self.device)

    def swept(self, job: Callable[[], object]) -> Callable[[], None]:
        """Return a job that finds nothing in the caches."""

        def do() -> None:
            self._cache.add_(1.0)
            job()

        return do

    def only(self, objectives: Objectives) -> Callable[[], None]:
        """Return the objective's own part of a step as a job."""
        arriving = torch.zeros_like(self.trace.encoder_output)

        def job() -> None:
            leaf = self.trace.encoder_output.detach().requires_grad_()
            (parts,) = objectives.losses(dataclasses.replace(self.trace, encoder_output=leaf), 0, 0).values()
            gradient, *_ = torch.autograd.grad(1.0 * parts["loss"], [leaf, *objectives.parameters()])
            arriving.add_(gradient)

        return job
