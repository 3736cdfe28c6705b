"""Bars on the terminal while data is made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

PATIENCE = 1.0
"""Seconds that something may take before a bar is worth showing."""


@contextlib.contextmanager
def packing_bar(description: str, total: int | None, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show documents, bytes and speed; yields what is to be told of documents and bytes done so far.

    Args:
        description: what is packed.
        total: about how many bytes there will be; a bar without an end where it is None.
        console: where to show it; nothing is shown where it is no terminal.

    """
    columns = (
        TextColumn("packing {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[documents]:,} documents"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, documents=0)
        yield lambda documents, size: bar.update(task, completed=size, documents=documents)


@contextlib.contextmanager
def late_bar(description: str, total: int, console: Console | None = None) -> Iterator[Callable[[int], None]]:
    """Show how much is done of what may be done in a moment; yields what is to be told of it.

    Args:
        description: what is done.
        total: how much there is to do.
        console: where to show it (standard error, if None), and only where it is a terminal, after `PATIENCE` seconds.

    """
    console = console or Console(stderr=True)
    begun, shown = time.monotonic(), False
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(description, total=total)

    def show(done: int) -> None:
        nonlocal shown
        bar.update(task, completed=done)
        if console.is_terminal and not shown and time.monotonic() - begun >= PATIENCE:
            bar.start()
            shown = True

    try:
        yield show
    finally:
        if shown:
            bar.stop()
