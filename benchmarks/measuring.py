"""Timing in turn, so that whatever else a machine does falls on all; and what comes of it: ratios with their spread."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

Job = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One line of a table: ours beside a peer.

    Attributes:
        benchmark: which of the benchmarks.
        shape: at which sizes; empty where there are none.
        what: is measured.
        ours, peer: names.
        value, peer_value: medians, in `unit`.
        unit: of both.
        ratio: median over repeats; `low` and `high` are its quartiles.
        target: which ratio was asked for; None for none.
        sense: whether more is better ("at least"), or less ("at most").

    """

    benchmark: str
    shape: str
    what: str
    ours: str
    peer: str
    value: float
    peer_value: float
    unit: str
    ratio: float
    low: float
    high: float
    target: float | None = None
    sense: Literal["at least", "at most"] = "at least"

    @property
    def reached(self) -> bool | None:
        """Whether the median is what was asked for."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.sense == "at least" else self.ratio <= self.target


def in_turn(jobs: Mapping[str, Job], repeats: int, device: str = "cpu", warm: int = 2) -> dict[str, list[float]]:
    """Return the seconds of each job at each repeat; all jobs run once in each round, in turn.

    Args:
        jobs: by name.
        repeats: rounds that count.
        device: waited for at the end of each job.
        warm: rounds before, that do not count.

    """
    return turns({name: functools.partial(timed, job, device) for name, job in jobs.items()}, repeats, warm)


def turns(
    jobs: Mapping[str, Callable[[], float]], repeats: int, warm: int = 2, once_from: float = math.inf
) -> dict[str, list[float]]:
    """Return the seconds that each job tells at each repeat; all jobs run once in each round, in turn.

    Args:
        jobs: by name; each returns its own seconds.
        repeats: rounds that count.
        warm: rounds before, that do not count.
        once_from: seconds from which a job runs once, and its time stands for all rounds.

    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    long: dict[str, float] = {}
    for round_ in range(warm + repeats):
        for name, job in jobs.items():
            elapsed = long[name] if name in long else job()
            if elapsed >= once_from:
                long[name] = elapsed
            if round_ >= warm:
                seconds[name].append(elapsed)
    return seconds


def timed(job: Job, device: str = "cpu") -> float:
    """Return the seconds that a job takes."""
    settle(device)
    started = time.perf_counter()
    job()
    settle(device)
    return time.perf_counter() - started


def settle(device: str) -> None:
    """Wait for all that a device was asked to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def speed(
    benchmark: str,
    shape: str,
    what: str,
    seconds: Mapping[str, Sequence[float]],
    ours: str,
    peer: str,
    target: float | None = None,
) -> Comparison:
    """Return how many times as fast as a peer ours is: the peer's seconds over ours, repeat by repeat."""
    ratios = [theirs / mine for mine, theirs in zip(seconds[ours], seconds[peer], strict=True)]
    medians = statistics.median(seconds[ours]), statistics.median(seconds[peer])
    low, middle, high = quartiles(ratios)
    return Comparison(benchmark, shape, what, ours, peer, *medians, "s", middle, low, high, target)


def share(
    benchmark: str,
    shape: str,
    what: str,
    values: Mapping[str, Sequence[float]],
    ours: str,
    peer: str,
    unit: str,
    target: float | None = None,
) -> Comparison:
    """Return which share of a peer's figure ours is, where less is better."""
    turned = speed(benchmark, shape, what, values, peer, ours, target)
    return dataclasses.replace(
        turned, ours=ours, peer=peer, value=turned.peer_value, peer_value=turned.value, unit=unit, sense="at most"
    )


def limit(
    benchmark: str, shape: str, what: str, values: Sequence[float], unit: str, target: float | None = None
) -> Comparison:
    """Return a figure that stands for itself, beside the most that it may be; the ratio is their quotient."""
    low, middle, high = quartiles(values)
    most = target or 1.0
    return Comparison(
        benchmark, shape, what, "DeepSight", "limit", middle, most, unit, middle / most, low / most, high / most,
        1.0 if target else None, "at most",
    )  # fmt: skip


def write_csv(comparisons: Sequence[Comparison], file: Path) -> None:
    """Write comparisons as a table."""
    import pandas as pd

    from deepsight.files import write_text

    rows = [{**dataclasses.asdict(line), "reached": line.reached} for line in comparisons]
    write_text(file, pd.DataFrame(rows).to_csv(index=False))
