"""The record of a run: one JSON object a line, appended as it happens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepsight.files import write_text


def read_metrics(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a metrics file; a line torn by a crash ends the reading."""
    if not Path(file).is_file():
        return
    with Path(file).open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


class MetricsFile:
    """Appends rows to a run's metrics file.

    Args:
        file: where; an existing file is cut back to the rows up to `step`, where the checkpoint stands.

    """

    def __init__(self, file: Path, step: int | None) -> None:
        kept = [row for row in read_metrics(file) if step is not None and row["step"] <= step]
        write_text(file, "".join(_line(row) for row in kept))
        self._stream = Path(file).open("a", encoding="utf-8")  # noqa: SIM115 - open as long as the run

    def append(self, row: dict[str, Any]) -> None:
        """Add a row and hand it to the operating system."""
        self._stream.write(_line(row))
        self._stream.flush()

    def sync(self) -> None:
        """Wait until everything appended is on disk."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
