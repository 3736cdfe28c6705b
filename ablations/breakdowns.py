"""Where in the validation text each finished trial's loss lies, as pandas."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ablations.finished import finished_runs
from ablations.stored import StoredStudy
from deepsight.training.names import BREAKDOWN_FILE

IDENTITY = ("trial", "arm", "seed")
PLACES = {"positions": "position", "documents": "document"}
AHEAD = ("objective", "distance", "loss")


def _empty(*columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=[*IDENTITY, *columns])


@dataclass(frozen=True, eq=False)
class Breakdowns:
    """The breakdowns of a study's finished trials; each frame also has `trial`, `arm` and `seed`.

    Attributes:
        positions: one row a position of the window: `position` (from 0), `nats` (summed) and `tokens`.
        documents: one row a document of the validation split: `document` (from 0), `nats` and `tokens`.
        ahead: one row a head of an objective: `objective`, `distance` (tokens ahead) and `loss` (nats per token).

    """

    positions: pd.DataFrame = field(default_factory=lambda: _empty("position", "nats", "tokens"))
    documents: pd.DataFrame = field(default_factory=lambda: _empty("document", "nats", "tokens"))
    ahead: pd.DataFrame = field(default_factory=lambda: _empty(*AHEAD))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Breakdowns):
            return NotImplemented
        return all(getattr(self, name).equals(getattr(other, name)) for name in (*PLACES, "ahead"))

    __hash__ = None  # type: ignore[assignment]


def read_breakdowns(folder: str | Path, study: StoredStudy | None = None) -> Breakdowns:
    """Read what the finished trials of a study left; a trial without it, or with a broken one, is left out.

    Args:
        folder: of the study.
        study: its plan, where that was read already.

    Raises:
        UserError: the folder holds no study.

    """
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in (*PLACES, "ahead")}
    for run in finished_runs(folder, study):
        for name, frame in _frames(run.folder).items():
            frames[name].append(frame.assign(trial=run.trial, arm=run.arm, seed=run.seed))
    return Breakdowns(**{name: _joined(parts) for name, parts in frames.items() if parts})


def _frames(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the frames of one finished trial; none where its file cannot be read."""
    try:
        content: Any = json.loads((folder / BREAKDOWN_FILE).read_text(encoding="utf-8"))
        found = {name: pd.DataFrame(content[name]).astype("float64") for name in PLACES}
        found = {name: frame.astype({PLACES[name]: "int64", "tokens": "int64"}) for name, frame in found.items()}
        rows = [
            (str(objective), int(distance), float(loss))
            for objective, losses in content["ahead"].items()
            for distance, loss in losses.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {**found, "ahead": pd.DataFrame(rows, columns=list(AHEAD))} if rows else found


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(parts, ignore_index=True)
    return frame[[*IDENTITY, *(column for column in frame.columns if column not in IDENTITY)]]
