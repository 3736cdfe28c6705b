"""How long the command line takes to start: each time a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measuring import Comparison, in_turn, limit
from benchmarks.options import Options

CODE = {
    "empty Python": "pass",
    "importing the command line": "import deepsight.cli.app",
    "--help": "import sys; sys.argv = ['deepsight', '--help']; from deepsight.cli.app import main; main()",
}
TARGETS = {"importing the command line": 0.3, "--help": 0.7}
"""Seconds."""


def run(options: Options) -> Iterator[Comparison]:
    """Time processes from start to end, in turn."""

    def started(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    jobs = {name: (lambda code=code: started(code)) for name, code in CODE.items()}
    seconds = in_turn(jobs, options.repeats)
    yield limit("startup", "", "Python itself", seconds["empty Python"], "s")
    for name, target in TARGETS.items():
        yield limit("startup", "", name, seconds[name], "s", target)
