"""The record of a run: one JSON object a line, appended as it happens."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepsight.errors import DamagedError
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
        file: where; an existing file is cut back to its first `rows` rows, those before the checkpoint.
        rows: how many of them the checkpoint has seen.

    Raises:
        DamagedError: the file has fewer.

    """

    def __init__(self, file: Path, rows: int = 0) -> None:
        kept = list(itertools.islice(read_metrics(file), rows))
        if len(kept) < rows:
            raise DamagedError(f"{file}: {len(kept)} rows can be read of the {rows} that the checkpoint goes on from")
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
