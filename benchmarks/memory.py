"""The most memory that training takes: each system in a process of its own.

python -m benchmarks.memory "DeepSight" A cpu 2     # what one process does
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import torch

from benchmarks.measuring import Comparison, share
from benchmarks.options import Options
from benchmarks.shapes import SHAPES
from benchmarks.systems import SYSTEMS
from deepsight.training.device import peak_memory

STEPS = 3
PAIRS = (
    ("DeepSight", "plain original", 0.6),
    ("DeepSight", "GPT-2 of transformers", 0.6),
    ("baseline", "GPT-2 of transformers", 0.6),
    ("baseline", "decoder of x-transformers", None),
    ("DeepSight", "encoder-decoder of x-transformers", None),
)
PROCESSES = 3
"""Of each system: the peak of a process hardly varies."""


def run(options: Options) -> Iterator[Comparison]:
    """Measure the peak of whole processes, torch's own memory included."""
    for shape in options.shapes:
        peaks = {
            name: [_peak(name, shape.name, options) / 2**20 for _ in range(min(options.repeats, PROCESSES))]
            for name in options.systems(PAIRS)
        }
        for ours, peer, target in PAIRS:
            if not (ours in peaks and peer in peaks):
                continue
            asked = target if shape.name == "A" else None
            yield share("memory", shape.name, "peak memory of training", peaks, ours, peer, "MiB", asked)


def _peak(system: str, shape: str, options: Options) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", system, shape, options.device, str(options.threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    name, shape, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    system = SYSTEMS[name](SHAPES[shape], device)
    for _ in range(STEPS):
        system.step()
    print(peak_memory(torch.device(device)))


if __name__ == "__main__":
    main()
