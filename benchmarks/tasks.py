"""How fast the sequences of planning tasks are drawn on one core, beside a loop over graphs, edges and nodes.

    python benchmarks/tasks.py [sequences]

The loop makes path-star sequences one by one with Python's random, as a script would; the last column is each task's
rate over the loop's. Interleaved repeats; medians of processor time.
"""

from __future__ import annotations

import functools
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from deepsight.data.tasks.path_star import PathStar
from deepsight.data.tasks.task import Task
from deepsight.plug_ins import tasks

REPEATS = 5
LOOPED = 2_000


def looped(task: PathStar, count: int) -> list[list[int]]:
    """Return path-star sequences, each made by itself."""
    made = []
    for _ in range(count):
        nodes = random.sample(range(task.labels), task.nodes)
        start, rest, steps = nodes[0], nodes[1:], task.path_length - 1
        arms = [[start, *rest[arm * steps : (arm + 1) * steps]] for arm in range(task.degree)]
        edges = [(one, other) for arm in arms for one, other in itertools.pairwise(arm)]
        random.shuffle(edges)
        path = random.choice(arms)
        listed = [token for edge in edges for token in (*edge, task.bar)][:-1]
        made.append([*listed, task.slash, start, path[-1], task.equals, *path])
    return made


def rate(draw: Callable[[int], object], count: int) -> float:
    """Return sequences a second of processor time."""
    started = time.process_time()
    draw(count)
    return count / (time.process_time() - started)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    made: dict[str, Task] = {name: tasks.build(name) for name in tasks.names()}
    measured: dict[str, list[float]] = {name: [] for name in ("loop", *made)}
    star = made["path_star"]
    assert isinstance(star, PathStar)
    for repeat in range(REPEATS):
        generator = np.random.RandomState(repeat)
        measured["loop"].append(rate(lambda many: looped(star, many), LOOPED))
        for name, task in made.items():
            measured[name].append(rate(functools.partial(task.draw, generator), count))
    loop = statistics.median(measured["loop"])
    print(f"{'task':<22} {'tokens':>6} {'sequences/s':>12} {'spread':>16} {'over the loop':>14}")
    for name, rates in measured.items():
        median = statistics.median(rates)
        tokens = made[name].length if name in made else star.length
        spread = f"{min(rates):,.0f}–{max(rates):,.0f}"
        print(f"{name:<22} {tokens:>6} {median:>12,.0f} {spread:>16} {median / loop:>13.1f}×")


if __name__ == "__main__":
    main()
