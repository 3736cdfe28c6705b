"""A report kept up to date: built again when someone looks at it and its study has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepsight.errors import UserError
from deepsight.terminal import printable
from reports.serving.changes import state_of
from reports.serving.refreshing import ServedPage, refreshing, waiting_page
from reports.sources import Sources, read_sources
from reports.writing import REPORT_FOLDER, write_report

PAUSE = 3.0
"""Seconds between two looks at the files, at the least."""
REST = 2.0
"""How many times as long as it took does a building rest: drawing shares its cores with the training it shows."""


class LiveReport:
    """The last good page of a study, and the thread that builds the next one.

    A request never waits for more than the first page. Whatever goes wrong while a page is built, the last one stays.

    Args:
        folder: of the study.
        note: told in a sentence when the report can no longer be built, and not again until it could.
        pause: seconds between two looks at the files.

    """

    def __init__(self, folder: Path, note: Callable[[str], None], pause: float = PAUSE) -> None:
        self.folder, self.note, self.pause = Path(folder), note, pause
        self._page: ServedPage | None = None
        self._state: Any = None
        self._sources: Sources | None = None
        self._problem = ""
        self._asked, self._tried, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="report", daemon=True)

    def start(self) -> None:
        """Build the first page, and from then on what is asked for."""
        self._asked.set()
        self._thread.start()

    def stop(self) -> None:
        """Build nothing more; returns when a building under way has ended."""
        self._stopped.set()
        self._asked.set()
        self._thread.join()

    def page(self) -> ServedPage:
        """Return the last good page, and have the next one built if the study has changed.

        Before the first building has ended it is waited for. Without a good page it is one that says why.
        """
        self._asked.set()
        self._tried.wait()
        return self._page or waiting_page(self._problem)

    def _work(self) -> None:
        while self._asked.wait() and not self._stopped.is_set():
            self._asked.clear()
            began = time.monotonic()
            self._look()
            self._tried.set()
            self._stopped.wait(max(self.pause, REST * (time.monotonic() - began)))

    def _look(self) -> None:
        try:
            self._refresh()
            self._problem = ""
        except Exception as error:  # noqa: BLE001 - a file may be half written in any way, and must not end the server
            if not self._problem:
                reason = str(error) if isinstance(error, UserError | OSError) else f"{type(error).__name__}: {error}"
                self._problem = printable(reason)
                stays = ", and stays as it was" if self._page else ""
                self.note(f"The report could not be built{stays}: {self._problem}")

    def _refresh(self) -> None:
        state = state_of(self.folder)  # before reading: what changes meanwhile is seen at the next look
        if state == self._state:
            return
        sources = read_sources(self.folder)
        # A metrics file grows at every logged step; only its evaluations are in the page.
        if self._sources is None or not sources.same_as(self._sources):
            self._page = refreshing(write_report(*sources, self.folder / REPORT_FOLDER).read_bytes())
            self._sources = sources
        self._state = state
