"""A table as CSV (full precision), Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import jinja2
from markupsafe import Markup

from reports.latex import to_latex
from reports.table import Cell, Column, Table
from reports.wording import tied


def to_csv(table: Table) -> str:
    """Return the unrounded data as CSV; lists and mappings are written as JSON."""
    data = table.data.map(lambda value: json.dumps(value) if isinstance(value, list | dict) else value)
    return str(data.to_csv(index=False, lineterminator="\n"))


def to_markdown(table: Table) -> str:
    """Return a Markdown table (GitHub's), its caption above and its notes below."""
    lines = [
        _markdown_row([markdown_escape(column.title) for column in table.columns]),
        _markdown_row(["---:" if column.numeric else ":---" for column in table.columns]),
        *(_markdown_row([_markdown_cell(cell) for cell in row]) for row in table.rows),
    ]
    notes = [f"\n{markdown_escape(note)}" for note in table.notes]
    return "\n".join([f"**{markdown_escape(table.caption)}**", "", *lines, *notes]) + "\n"


def to_html_file(table: Table) -> str:
    """Return a small HTML document, styled by itself, of which a notebook may hold any number.

    Its links lead from where the file lies, in a folder of the report's; nothing in it is known by an id.
    """
    return ENVIRONMENT.get_template("table_file.html").render(table=table)


FORMATS: dict[str, Callable[[Table], str]] = {
    ".csv": to_csv,
    ".md": to_markdown,
    ".tex": to_latex,
    ".html": to_html_file,
}
"""The forms of a table that are files of their own, by their endings."""


def to_html(table: Table, places: Mapping[str, int] | None = None) -> Markup:
    """Return the `<table>` element of a page; names inside stay text, whatever they hold.

    Args:
        table: the table.
        places: arm → its position in the study, by which the page knows the rows and columns that it may hide.

    """
    return Markup(ENVIRONMENT.get_template("table.html").render(table=table, places=places or {}))


def markdown_escape(text: str) -> str:
    """Return a text that Markdown prints as it is: no markup, no HTML, no end of the table's cell."""
    text = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", _one_line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    text = markdown_escape(cell.text)
    return f"**{text}**" if cell.strong and text else text


def _alignment(column: Column) -> str:
    return "number" if column.numeric else "words"


def unbroken(text: str) -> str:
    """Return numbers that may break across lines only before their interval."""
    return re.sub(r" (?!\[)", "\N{NO-BREAK SPACE}", text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(alignment=_alignment, unbroken=unbroken, tied=tied)
    return environment


ENVIRONMENT = _environment()
"""Templates of the page and its parts; whatever is put into them is escaped."""
