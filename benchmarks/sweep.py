"""What a study's trials cost beside their training, and what a second worker brings.

Fixed cost: a trial of one step is started again and again, from the template that the driver keeps; the time is that
from asking for its process to the row that its first step leaves, with one window evaluated before it. Workers: the
same trials run with one worker and with two, in turn, and the times are divided; all have one thread.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablations.driver import Silent
from ablations.places import Places
from ablations.plan import Trial
from ablations.supervisor import Supervisor
from benchmarks.measuring import Comparison, in_turn, limit, speed
from benchmarks.options import Options
from deepsight.config import RunConfig, run_config
from deepsight.data.of_run import pack_for
from deepsight.merging import merged
from deepsight.presets import expanded

FIXED_TARGET, WORKERS_TARGET = 0.5, 1.9
TRIALS, STEPS = 4, 300
REPEATS = 3


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


def run(options: Options) -> Iterator[Comparison]:
    """Start trials of one step, then run longer ones with one worker and with two."""
    with tempfile.TemporaryDirectory() as name:
        fixed = _fixed_cost(Path(name) / "fixed")
        yield limit("sweep", "", "a trial's start to its first step", fixed, "s", FIXED_TARGET)
        numbers = iter(range(10**6))
        jobs = {
            said: lambda workers=workers: _study(Path(name) / f"{next(numbers)}", workers)
            for said, workers in (("one worker", 1), ("two workers", 2))
        }
        seconds = in_turn(jobs, min(options.repeats, REPEATS), warm=0)
        what = f"{TRIALS} trials of {STEPS} steps"
        yield speed("sweep", "", what, seconds, "two workers", "one worker", WORKERS_TARGET)


def _fixed_cost(folder: Path) -> list[float]:
    """Return the seconds to the first step of eight trials, after one that warms the template up."""
    config = _config(steps=1, windows=1)
    trials = [_trial(config, seed) for seed in range(9)]
    packed = pack_for(config.data)
    assert packed is not None
    watcher = FirstStep()
    Supervisor(folder, Places(1), (), watcher, corpora=lambda trial: packed.folder).run(trials)
    return [watcher.seconds[trial.id] for trial in trials[1:]]


def _study(folder: Path, workers: int) -> None:
    config = _config(steps=STEPS)
    packed = pack_for(config.data)
    assert packed is not None
    supervisor = Supervisor(folder, Places(workers), (), Silent(), corpora=lambda trial: packed.folder)
    supervisor.run([_trial(config, seed) for seed in range(TRIALS)])


def _config(steps: int, windows: int = 32) -> RunConfig:
    """Return the demo's run, with so many steps and one thread, measured on so many windows."""
    changes = {
        "training": {"steps": steps, "warmup_steps": 0},
        "evaluation": {"windows": windows},
        "runtime": {"threads": 1},
    }
    return run_config(merged(expanded({"preset": "tiny"}), changes))


def _trial(config: RunConfig, seed: int) -> Trial:
    return Trial(f"{seed:064x}", "demo", config.model_copy(update={"seed": seed}))
