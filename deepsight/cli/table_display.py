"""A table of a report on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Shown
    from rich.text import Text

    from reports.table import Cell, Column, Table


def print_table(table: Table, console: Console) -> None:
    """Print a table's caption, rows and notes; names in it stay text.

    Where arms have several rows each, every arm is a table of its own under its name: beside the numbers, a long name
    would leave them no room.
    """
    if _several_rows_an_arm(table):
        console.print(_text(table.caption, "italic"))
        body = zip(table.arms, table.rows, strict=True)
        for arm, rows in groupby(body, key=lambda pair: pair[0]):
            console.print(_text(arm or "", "bold"))
            console.print(_shown(table.columns[1:], [row[1:] for _, row in rows]))
    else:
        console.print(_shown(table.columns, table.rows, title=_text(table.caption, "italic"), totals=table.totals))
    for note in table.notes:
        console.print(_text(note))


def _several_rows_an_arm(table: Table) -> bool:
    arms = table.arms
    return bool(table.columns) and table.columns[0].names_arms and len(set(arms)) < len(arms) and not table.totals


def _shown(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], title: Text | None = None, totals: int = 0
) -> Shown:
    from rich import box
    from rich.table import Table as Shown
    from rich.text import Text

    shown = Shown(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        # Words under each other leave the width to the numbers.
        heading = Text(column.title.replace(" ", "\n") if column.numeric else column.title)
        shown.add_column(heading, justify="right" if column.numeric else "left", overflow="fold")
    for position, row in enumerate(rows):
        if position == len(rows) - totals:
            shown.add_section()
        shown.add_row(*(_text(cell.text, "bold" if cell.strong else "") for cell in row))
    return shown


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    from deepsight.terminal import printable

    return Text(printable(text), style=style)
