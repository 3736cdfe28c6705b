"""What the chunk size of the next-token loss costs: forward and backward against full logits, as ratios.

    python benchmarks/cross_entropy.py

Interleaved repeats on one thread, in processor time; medians. Below one is faster than full logits.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

SHAPES = {
    "the demo": (512, 2_048, 64),
    "small": (4_096, 4_096, 192),
    "the published model": (1_600, 50_257, 150),
}
CHUNKS = [16, 64, 128, 256, 512]


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    table = Table(title="forward and backward of the next-token loss, against full logits")
    for heading in ("positions × vocabulary × width", "torch's choice", *(f"{rows} rows" for rows in CHUNKS)):
        table.add_column(heading, justify="right")
    for name, (positions, vocabulary, width) in SHAPES.items():
        times = measured(positions, vocabulary, width, repeats)
        full = times.pop("full")
        ratios = [f"{value / full:.2f}" for value in times.values()]
        table.add_row(f"{name}: {positions:,} × {vocabulary:,} × {width}", *ratios)
    Console().print(table)


def measured(positions: int, vocabulary: int, width: int, repeats: int) -> dict[str, float]:
    """Return the median seconds of each way, its first round left out."""
    hidden = torch.randn(positions, width, requires_grad=True)
    weight = torch.randn(vocabulary, width, requires_grad=True)
    targets = torch.randint(vocabulary, (positions,))

    def with_options(**options: object) -> Callable[[], Tensor]:
        chosen = LinearCrossEntropyOptions(**options)  # type: ignore[arg-type]
        return lambda: F.linear_cross_entropy(hidden, weight, targets, options=chosen)

    ways: dict[str, Callable[[], Tensor]] = {
        "full": lambda: F.cross_entropy(hidden @ weight.T, targets),
        "torch": with_options(),
        **{str(rows): with_options(chunking_method=None, batch_chunk_size=rows) for rows in CHUNKS},
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats + 1):
        for way, loss in ways.items():
            started = time.process_time()
            loss().backward()
            times[way].append(time.process_time() - started)
    return {way: statistics.median(seconds[1:]) for way, seconds in times.items()}


if __name__ == "__main__":
    main()
