"""A bar on the terminal while a corpus is packed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn


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
