"""What a person may choose of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.shapes import SHAPES, Shape

NEEDS = {"of transformers": "transformers", "of x-transformers": "x_transformers"}
"""What the names of systems end on, and the package that they need."""


def missing(system: str) -> str | None:
    """Return the package that a system needs and this machine has not, if there is one."""
    package = next((package for ending, package in NEEDS.items() if system.endswith(ending)), None)
    return package if package is not None and find_spec(package) is None else None


@dataclass(frozen=True)
class Options:
    """What is measured, and how often.

    Attributes:
        shapes: sizes, one after the other.
        repeats: rounds that count.
        threads: of torch.
        device: cpu or cuda.
        compiled: whether compiled systems take part; compiling takes minutes.

    """

    shapes: tuple[Shape, ...] = tuple(SHAPES.values())
    repeats: int = 11
    threads: int = 2
    device: str = "cpu"
    compiled: bool = True

    def takes(self, system: str) -> bool:
        """Say whether a system takes part: not one whose difference is the CPU's, on a GPU."""
        apart = (not self.compiled and "compiled" in system) or (self.device != "cpu" and "MKL" in system)
        return not apart and missing(system) is None

    def systems(self, pairs: Iterable[tuple[str, str, float | None]]) -> list[str]:
        """Return the systems of comparisons that take part, each once."""
        return [name for name in dict.fromkeys(name for pair in pairs for name in pair[:2]) if self.takes(name)]
