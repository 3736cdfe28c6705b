"""New rows of a trial's metrics file, as another process appends them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class RowReader:
    """Reads what is appended to a metrics file from now on.

    Args:
        file: which need not be there yet.

    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read = file.stat().st_size if file.is_file() else 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the rows since the last call; a torn line waits for its end."""
        try:
            with self.file.open("rb") as stream:
                # A resumed trial cuts its file back first.
                self._read = min(self._read, stream.seek(0, os.SEEK_END))
                stream.seek(self._read)
                *lines, _ = stream.read().split(b"\n")
        except OSError:
            return
        for line in lines:
            self._read += len(line) + 1
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)
