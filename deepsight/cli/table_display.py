"""A table of a report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from reports.table import Table


def print_table(table: Table, console: Console) -> None:
    """Print a table's caption, rows and notes; names in it stay text."""
    from rich import box
    from rich.table import Table as Shown
    from rich.text import Text

    from deepsight.terminal import printable

    shown = Shown(
        title=Text(printable(table.caption)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in table.columns:
        # Words under each other leave the width to the numbers.
        title = Text(column.title.replace(" ", "\n") if column.numeric else column.title)
        shown.add_column(title, justify="right" if column.numeric else "left", overflow="fold")
    for position, row in enumerate(table.rows):
        if position == len(table.rows) - table.totals:
            shown.add_section()
        shown.add_row(*(Text(printable(cell.text), style="bold" if cell.strong else "") for cell in row))
    console.print(shown)
    for note in table.notes:
        console.print(Text(printable(note)))
