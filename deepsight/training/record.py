"""What a run writes of itself while it trains: rows, for its own file and for loggers, and documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepsight.config import RunConfig
from deepsight.files import write_json
from deepsight.training.loggers import Loggers
from deepsight.training.metrics import MetricsFile
from deepsight.training.names import METRICS_FILE

Row = dict[str, Any]


class Record:
    """The record of a run, in its folder.

    Args:
        folder: the run's own.
        config: of the run.
        on_row: told of every row too.

    """

    def __init__(self, folder: Path, config: RunConfig, on_row: Callable[[Row], None] = lambda _: None) -> None:
        self.folder, self.config, self.on_row = Path(folder), config, on_row

    def begin(self, rows: int) -> None:
        """Open the files; of rows written before, keep the first ones.

        Raises:
            DamagedError: there are fewer.
            UserError: a logger cannot begin.

        """
        self._metrics = MetricsFile(self.folder / METRICS_FILE, rows)
        self._loggers = Loggers(self.config.runtime.loggers, self.folder, self.config.complete())

    def add(self, row: Row) -> None:
        """Record a row and tell of it."""
        self._metrics.append(row)
        self.on_row(row)
        self._loggers.log(row)

    def document(self, name: str, content: Any) -> None:
        """Write a JSON file in the run's folder."""
        write_json(self.folder / name, content)

    def sync(self) -> None:
        """Wait until all rows are on disk."""
        self._metrics.sync()

    def close(self) -> None:
        """Close the file and let the loggers go."""
        self._metrics.close()
        self._loggers.close()


class NoRecord(Record):
    """The record of a process that others train with: another one writes."""

    def begin(self, rows: int) -> None:
        """Do nothing."""

    def add(self, row: Row) -> None:
        """Do nothing."""

    def document(self, name: str, content: Any) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
