"""A probe as a stranger would write it, as a file for tests."""

from __future__ import annotations

from pathlib import Path

PROBE = '''
from deepsight.errors import UserError
from deepsight.evaluation.probes.probe import Probe
from deepsight.plug_ins import probes

CALLS = []


@probes.register("sizes")
class Sizes(Probe):
    """How large the weights are.

    Args:
        power: of each weight.
        way: how it ends.

    """

    def __init__(self, power: int = 2, way: str = "well") -> None:
        self.power, self.way = power, way

    def check(self, subject) -> None:
        if not subject.objectives.parts:
            raise UserError("this run has no objective, and the probe needs one")

    def run(self, subject, alive):
        CALLS.append(self.way)
        alive()
        if self.way == "badly" or (self.way == "at times" and subject.config.seed == 0):
            raise ValueError("no such size")
        value = float("nan") if self.way == "emptily" else 1.0
        weights = {"trained": subject.model, "untrained": subject.untrained()}
        return {
            "sizes": [
                {"weights": which, "name": name, "size": float(weight.detach().abs().pow(self.power).sum()) * value}
                for which, model in weights.items()
                for name, weight in model.named_parameters()
            ]
        }
'''


def write_probe(folder: Path) -> Path:
    """Write the file and return it."""
    file = folder / "sizes.py"
    file.write_text(PROBE, encoding="utf-8")
    return file
