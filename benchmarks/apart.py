"""Systems in processes of their own, so that none runs in memory that another has used; they take turns all the same.

python -m benchmarks.apart "DeepSight" A cpu 2     # what one process does: it answers what it is asked
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from types import TracebackType
from typing import Self

import torch

from benchmarks.measuring import timed
from benchmarks.options import Options
from benchmarks.shapes import SHAPES, Shape
from benchmarks.systems import SYSTEMS

ANSWER = "seconds:"
"""What an answer begins with; libraries may print too."""


class Apart:
    """A system in a process of its own, for as long as a ``with`` block lasts.

    Args:
        name: of the system.
        shape: its sizes.
        options: say on which device, and with how many threads.

    """

    def __init__(self, name: str, shape: Shape, options: Options) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.apart", name, shape.name, options.device, str(options.threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def step(self) -> float:
        """Return the seconds of a training step."""
        return self._asked("step")

    def generate(self, batch: int, count: int) -> float:
        """Return the seconds of generating `count` tokens for each of `batch` prompts of one token."""
        return self._asked(f"generate {batch} {count}")

    def _asked(self, question: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(question, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return float(line.removeprefix(ANSWER))
        raise RuntimeError(f"the process of {self.name} has ended with code {self._process.wait()}")


def main() -> None:
    name, shape, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    system = SYSTEMS[name](SHAPES[shape], device)
    for line in sys.stdin:
        question, *numbers = line.split()
        if question == "step":
            seconds = timed(system.step, device)
        else:
            batch, count = map(int, numbers)
            prompt = torch.zeros(batch, 1, dtype=torch.long, device=device)
            seconds = timed(functools.partial(system.generate, prompt, count), device)
        print(ANSWER, seconds, flush=True)


if __name__ == "__main__":
    main()
