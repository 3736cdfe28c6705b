"""What the future loss costs, as a share of a training step.

The share is the time of the objective's own part of a step (its forward pass, its backward pass down to the encoder
output, and the addition of its gradient there) over the time of a step without it. The parts are timed in turn, again
and again, so that whatever else the machine does falls on all of them; before each timing the caches are swept, as the
layers of a network would do. As a check, whole steps with and without the published choice are timed in turn too.
With one thread the time is the process's own on the processor, so that other work on the machine hardly counts.

    python benchmarks/future_loss.py
    python benchmarks/future_loss.py --repeats 30 --threads 2 --shape B
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from deepsight.architecture import Architecture
from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig, run_config
from deepsight.objectives_of_run import Objectives
from deepsight.trace import Trace
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients

HORIZONS = (3, 6, 11, 16, 26, 64)
AGGREGATORS = ("average", "decay", "normalized_decay")
TARGET = 0.02

SHAPES: dict[str, dict[str, Any]] = {
    "A": {
        "model": {"width": 150, "layers": [13, 13], "heads": 5, "cross_heads": 10, "context": 400},
        "tokenizer": "gpt2",
        "batch": 4,
    },
    "B": {
        "model": {"width": 256, "layers": [4, 4], "heads": 8, "context": 256},
        "tokenizer": "bpe:4096",
        "batch": 16,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, action="append", help="may be given several times; all by default")
    parser.add_argument("--repeats", type=int, default=11, help="times that each part is timed (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.repeats} repeats")
    worst = max(measure(name, arguments.repeats) for name in arguments.shape or SHAPES)
    print(f"largest share: {worst:.2%}; target: below {TARGET:.0%}")


def measure(name: str, repeats: int) -> float:
    """Time one shape, print its table, and return the largest median share."""
    bench = Bench(SHAPES[name])
    cells = {(n, kind): bench.objective(n, kind) for n in HORIZONS for kind in AGGREGATORS}
    jobs: dict[object, Callable[[], None]] = {"step": bench.step, "with": bench.step_with_published_choice}
    jobs |= {cell: bench.only(objectives) for cell, objectives in cells.items()}
    for job in jobs.values():  # what is done once only is done now
        job()
    seconds = {key: [0.0] * repeats for key in jobs}
    for repeat in range(repeats):
        for key, job in jobs.items():
            seconds[key][repeat] = bench.timed(job)
    step = statistics.median(seconds["step"])
    print(f"\nshape {name}: {describe(SHAPES[name])}; a step takes {step:.3f} s")
    print("     n  " + "".join(f"{kind:>26}" for kind in AGGREGATORS))
    for n in HORIZONS:
        print(f"{n:>6}  " + "".join(f"{shown([s / step for s in seconds[n, kind]]):>26}" for kind in AGGREGATORS))
    more = [both / alone - 1 for both, alone in zip(seconds["with"], seconds["step"], strict=True)]
    print(f"check, whole steps with and without (n = 11, decay): {shown(more)}")
    return max(statistics.median(seconds[cell]) for cell in cells) / step


def shown(shares: list[float]) -> str:
    """Return median and interquartile range."""
    low, middle, high = statistics.quantiles(shares, n=4) if len(shares) > 1 else shares * 3
    return f"{middle:.2%} ({low:.2%} to {high:.2%})"


def describe(shape: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in {**shape["model"], **shape}.items() if key != "model")


class Bench:
    """One model with a batch, and what is timed on it."""

    def __init__(self, shape: dict[str, Any]) -> None:
        self.shape = shape
        config = self.config("none")
        self.model: Architecture = build_model(config)
        rows, context = shape["batch"], config.model.context
        tokens = torch.randint(self.model.vocabulary, (rows, context + 1))
        self.inputs, self.targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        with torch.no_grad():
            self.trace: Trace = self.model(self.inputs, self.targets)
        self.published = self.objective(11, "decay")
        self.nothing = build_objectives(config, self.model.shape)
        self.optimizer = build_optimizer([self.model, self.published], config.training)
        self.sweep = torch.zeros(16 * 1024 * 1024)

    def config(self, objective: Any) -> RunConfig:
        """Return a run of the shape with an objective."""
        return run_config(
            {
                "model": self.shape["model"],
                "data": {"corpus": "pydocs", "tokenizer": self.shape["tokenizer"]},
                "objective": objective,
                "training": {"steps": 1, "batch_size": self.shape["batch"], "learning_rate": 1e-4},
                "evaluation": {"every": 1},
            }
        )

    def objective(self, n: int, aggregator: str) -> Objectives:
        """Return the published objective with another horizon or aggregator."""
        config = self.config({"name": "future_context", "n": n, "aggregator": aggregator})
        return build_objectives(config, self.model.shape)

    def timed(self, job: Callable[[], None]) -> float:
        """Return the seconds that a job takes, with caches swept before."""
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        self.sweep.add_(1.0)
        started = clock()
        job()
        return clock() - started

    def step(self) -> None:
        """Run a training step without objective."""
        self._step(self.nothing)

    def step_with_published_choice(self) -> None:
        """Run a training step with the published objective."""
        self._step(self.published)

    def _step(self, objectives: Objectives) -> None:
        accumulate_gradients(self.model, objectives, self.inputs, self.targets, seed=0, step=0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def only(self, objectives: Objectives) -> Callable[[], None]:
        """Return the objective's own part of a step as a job."""
        arriving = torch.zeros_like(self.trace.encoder_output)

        def job() -> None:
            leaf = self.trace.encoder_output.detach().requires_grad_()
            (parts,) = objectives.losses(dataclasses.replace(self.trace, encoder_output=leaf), 0, 0).values()
            gradient, *_ = torch.autograd.grad(1.0 * parts["loss"], [leaf, *objectives.parameters()])
            arriving.add_(gradient)

        return job


if __name__ == "__main__":
    main()
