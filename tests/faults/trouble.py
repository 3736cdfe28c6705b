"""An objective that does harm, as a plug-in file, and a driver to run studies with it in processes of their own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ablations.attempts import Ending, read_history, result_of
from ablations.plan import Plan
from ablations.stored import trial_folder
from deepsight.training.metrics import read_metrics
from deepsight.training.names import ATTEMPTS_FILE, METRICS_FILE
from tests.ablations.studies import study_data, write_study

TORTURE = bool(os.environ.get("DEEPSIGHT_TORTURE"))

PLUGIN = '''
import ctypes
import os
import signal
import time

import torch
from torch import nn

from objectives import objectives


@objectives.register("trouble")
class Trouble(nn.Module):
    """Ends a run in the way it is told, after a few steps."""

    def __init__(self, shape, how: str = "none", steps: int = 6) -> None:
        super().__init__()
        self.how, self.steps, self.calls = how, steps, 0

    def forward(self, trace):
        if self.training:
            self.calls += 1
        # The plan takes three steps of its own.
        if self.calls > self.steps:
            self.do(trace)
        return {"loss": trace.encoder_output.mean() * (float("nan") if self.calls > 6 and self.how == "nan" else 0.0)}

    def do(self, trace):
        rows = trace.tokens.shape[0]
        if self.how == "raise":
            raise RuntimeError("no more of this")
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "segfault":
            ctypes.string_at(0)
        if self.how == "memory" or (self.how == "memory above one" and rows > 1):
            raise torch.OutOfMemoryError(f"no room for {rows} sequences")
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "exit":
            os._exit(7)
        if self.how == "disk":
            def refuse(*arguments, **settings):
                raise OSError(28, "No space left on device")
            from deepsight.training import metrics
            metrics.MetricsFile.append = refuse
        if self.how == "chatter":
            print("x" * 1_000_000, flush=True)
'''

DRIVER = """
import sys
from pathlib import Path
from ablations.driver import Job, work
from ablations.supervisor import warm_up
from ablations.trial_queue import Rules

if __name__ == "__main__":
    warm_up()
    study, folder, *plugins = map(Path, sys.argv[1:])
    print(work(Job(study, folder, tuple(plugins), "deepsight ablate"), 2, Rules(retries=99)))
"""


def write_plugin(folder: Path) -> Path:
    """Write the plug-in file and return its path."""
    file = folder / "trouble.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


def long_study(folder: Path, text: Path, **changes: Any) -> Path:
    """Write a study whose trials take long enough to be disturbed, and leave many checkpoints."""
    settings = {
        "base__training__steps": 200,
        "base__runtime__checkpoint_every": 10,
        "base__evaluation__every": 100,
        "base__model__dropout": 0.1,
    }
    return write_study(folder / "study.yaml", study_data(text, **(settings | changes)))


def start_driver(study: Path, folder: Path, *plugins: Path) -> subprocess.Popen[bytes]:
    """Start a driver that runs a study without a word."""
    script = study.with_name("drive.py")
    script.write_text(DRIVER, encoding="utf-8")
    words = [sys.executable, str(script), str(study), str(folder), *map(str, plugins)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def outcome(folder: Path, plan: Plan) -> dict[str, tuple[Any, Any]]:
    """Return what each trial measured, rows and result, without the time that it took."""
    found = {}
    for trial in plan.trials:
        place = trial_folder(folder, trial.id)
        rows = [_timeless(row) for row in read_metrics(place / METRICS_FILE)]
        found[trial.id] = rows, _timeless(result_of(place) or {})
    return found


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("seconds", "peak_memory")}


def check_nothing_ran_twice(folder: Path, plan: Plan) -> None:
    """Each trial ended well once, nothing was begun after that, and no two attempts ran at one time."""
    for trial in plan.trials:
        place = trial_folder(folder, trial.id)
        endings = [attempt.ending for attempt in read_history(place).attempts]
        assert endings.count(Ending.DONE) == 1
        assert endings[-1] is Ending.DONE
        events = [json.loads(line)["event"] for line in (place / ATTEMPTS_FILE).read_text().splitlines()]
        assert "ended" not in [second for first, second in itertools.pairwise(events) if first == "ended"]


def check_no_leftovers(folder: Path) -> None:
    """No file is left that was being written."""
    assert list(folder.rglob(".*.tmp")) == []
