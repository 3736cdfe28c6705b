"""What probes found, as files in a run's folder; light to import, so that reports need not import torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepsight.files import write_json
from deepsight.registry import Spec
from deepsight.training.names import PROBES_FOLDER


@dataclass(frozen=True)
class Answer:
    """What one probe found in one run.

    Attributes:
        spec: of the probe, complete.
        key: digest of what the tables follow from.
        seconds: that they took.
        tables: table name → rows of plain values; none where the probe failed.
        error: why it failed, in one sentence; None where it did not.

    """

    spec: Spec
    key: str
    seconds: float
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    error: str | None = None

    @property
    def name(self) -> str:
        """The probe's."""
        return str(self.spec["name"])


def answer_file(folder: Path, probe: str) -> Path:
    """Return where the answer of a probe lies in a run's folder."""
    return Path(folder) / PROBES_FOLDER / f"{probe}.json"


def write_answer(folder: Path, answer: Answer) -> Path:
    """Write an answer into a run's folder and return the file.

    Raises:
        ValueError, TypeError: the tables hold something else than plain JSON values, or a number that is not finite.

    """
    file = answer_file(folder, answer.name)
    found = {"tables": answer.tables} if answer.error is None else {"error": answer.error}
    write_json(file, {"spec": answer.spec, "key": answer.key, "seconds": round(answer.seconds, 3), **found})
    return file


def read_answer(folder: Path, probe: str) -> Answer | None:
    """Return the answer that a run's folder holds; None where there is none, or none that can be read."""
    try:
        content = json.loads(answer_file(folder, probe).read_text(encoding="utf-8"))
        spec, key, seconds = dict(content["spec"]), str(content["key"]), float(content["seconds"])
        if "error" in content:
            return Answer(spec, key, seconds, error=str(content["error"]))
        tables = {str(name): [dict(row) for row in rows] for name, rows in content["tables"].items()}
        return Answer(spec, key, seconds, tables)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def answered(folder: Path) -> list[str]:
    """Return the names of the probes of which a run's folder holds files, sorted."""
    return sorted(file.stem for file in (Path(folder) / PROBES_FOLDER).glob("[!.]*.json"))
