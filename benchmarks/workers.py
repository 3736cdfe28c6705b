"""What a study's trials cost beside their training, and what a second worker brings.

Fixed cost: a trial of one step is started again and again, from the template that the driver keeps; the time is that
from asking for its process to the row that its first step leaves, with one window evaluated before it. Workers: the
same trials run with one worker and with two, in turn, and the times are divided; all have one thread.

    python benchmarks/workers.py
    python benchmarks/workers.py --trials 8 --steps 600 --repeats 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from ablations.driver import Silent
from ablations.places import Places
from ablations.plan import Trial
from ablations.supervisor import Supervisor
from deepsight.config import RunConfig, run_config
from deepsight.data.of_run import pack_for
from deepsight.merging import merged
from deepsight.presets import expanded

FIXED_TARGET, WORKERS_TARGET = 0.5, 1.9


class FirstStep(Silent):
    """Times each trial from its start to the row of its first step."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def started(self, trial: Trial) -> None:
        """Start the clock."""
        self.begun[trial.id] = time.perf_counter()

    def advanced(self, trial: Trial, row: dict[str, Any]) -> None:
        """Stop it at the first row that a step leaves."""
        if row["step"] > 0:
            self.seconds.setdefault(trial.id, time.perf_counter() - self.begun[trial.id])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=4, help="of each run of the comparison (%(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="of each of them (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of the comparison (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        fixed = fixed_cost(Path(name) / "fixed")
        print(
            f"process start to first step: median {statistics.median(fixed):.2f} s, largest {max(fixed):.2f} s of "
            f"{len(fixed)}; target: at most {FIXED_TARGET} s"
        )
        ratios = []
        for repeat in range(arguments.repeats):
            one, two = (
                elapsed(Path(name) / f"{repeat}-{workers}", workers, arguments.trials, arguments.steps)
                for workers in (1, 2)
            )
            ratios.append(one / two)
            print(
                f"{arguments.trials} trials: {one:.1f} s with one worker, {two:.1f} s with two: {ratios[-1]:.2f} times"
            )
        print(f"two workers against one: {statistics.median(ratios):.2f} times; target: at least {WORKERS_TARGET}")


def fixed_cost(folder: Path) -> list[float]:
    """Return the seconds to the first step of eight trials, after one that warms the template up."""
    run = _run(steps=1, windows=1)
    trials = [_trial(run, seed) for seed in range(9)]
    watcher, packed = FirstStep(), pack_for(run.data).folder
    Supervisor(folder, Places(1), (), watcher, corpora=lambda trial: packed).run(trials)
    return [watcher.seconds[trial.id] for trial in trials[1:]]


def elapsed(folder: Path, workers: int, trials: int, steps: int) -> float:
    """Return the seconds that trials take with so many workers."""
    run = _run(steps=steps)
    packed, started = pack_for(run.data).folder, time.perf_counter()
    supervisor = Supervisor(folder, Places(workers), (), Silent(), corpora=lambda trial: packed)
    supervisor.run([_trial(run, seed) for seed in range(trials)])
    return time.perf_counter() - started


def _run(steps: int, windows: int = 32) -> RunConfig:
    """Return the demo's run, with so many steps and one thread, measured on so many windows."""
    changes = {
        "training": {"steps": steps, "warmup_steps": 0},
        "evaluation": {"windows": windows},
        "runtime": {"threads": 1},
    }
    config = run_config(merged(expanded({"preset": "tiny"}), changes))
    pack_for(config.data)
    return config


def _trial(run: RunConfig, seed: int) -> Trial:
    return Trial(f"{seed:064x}", "demo", run.model_copy(update={"seed": seed}))


if __name__ == "__main__":
    main()
