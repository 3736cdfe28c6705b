"""What probes found in each finished trial of a study, or in one run, as pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ablations.finished import FinishedRun, finished_runs
from ablations.stored import StoredStudy
from deepsight.evaluation.probes.answers import Answer, answered, read_answer

IDENTITY = ("arm", "seed", "trial")
ASKED = (*IDENTITY, "probe", "spec", "seconds", "error")


@dataclass(frozen=True, eq=False)
class Probed:
    """What probes found.

    Attributes:
        frames: (probe, table) → the rows of all runs, each with `arm`, `seed` and `trial` before its own columns.
        asked: one row a run and probe: `arm`, `seed`, `trial`, `probe`, `spec` (complete), `seconds`, and `error`, a
            sentence where the probe failed and else missing.

    """

    frames: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    asked: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ASKED)))

    @property
    def probes(self) -> list[str]:
        """The probes that found something, by name."""
        return sorted({probe for probe, _ in self.frames})

    def tables(self, probe: str) -> dict[str, pd.DataFrame]:
        """Return the tables of a probe by name, in the probe's order; none where it found nothing."""
        return {table: frame for (name, table), frame in self.frames.items() if name == probe}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Probed):
            return NotImplemented
        same = self.frames.keys() == other.frames.keys() and self.asked.equals(other.asked)
        return same and all(frame.equals(other.frames[name]) for name, frame in self.frames.items())

    __hash__ = None  # type: ignore[assignment]


def read_probes(folder: str | Path, study: StoredStudy | None = None) -> Probed:
    """Read what probes found in the finished trials of a study; what cannot be read is left out.

    Args:
        folder: of the study.
        study: its plan, where that was read already.

    Raises:
        UserError: the folder holds no study.

    """
    return probed(finished_runs(folder, study))


def probed(runs: Iterable[FinishedRun], probes: Iterable[str] | None = None) -> Probed:
    """Read what probes found in some runs.

    Args:
        runs: the runs.
        probes: by name; all where it is None.

    """
    names = None if probes is None else set(probes)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    asked = []
    for run in runs:
        identity = {"arm": run.arm, "seed": run.seed, "trial": run.trial}
        for answer in _answers(run.folder):
            if names is not None and answer.name not in names:
                continue
            about = {"probe": answer.name, "spec": answer.spec, "seconds": answer.seconds, "error": answer.error}
            asked.append({**identity, **about})
            for table, rows in answer.tables.items():
                found.setdefault((answer.name, table), []).extend({**identity, **row} for row in rows)
    frames = {name: pd.DataFrame(rows, columns=None if rows else list(IDENTITY)) for name, rows in found.items()}
    return Probed(frames, pd.DataFrame(asked, columns=list(ASKED)))


def _answers(folder: Path) -> Iterator[Answer]:
    for name in answered(folder):
        if (answer := read_answer(folder, name)) is not None:
            yield answer
