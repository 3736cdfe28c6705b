"""A table as CSV (full precision), Markdown, LaTeX (booktabs) and an HTML fragment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import jinja2
from markupsafe import Markup

from reports.table import Cell, Column, Table

LONGEST_LATEX_WORDS = 40
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "δ": r"$\delta$",
    "–": "--",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "⁻": "$^{-}$",
    "ⁿ": "$^{n}$",
    **{superscript: f"$^{{{digit}}}$" for digit, superscript in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
"""What LaTeX reads as a command, or what a plain pdfLaTeX font does not have."""


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


def to_latex(table: Table) -> str:
    """Return a LaTeX table environment for the booktabs package; notes follow the caption."""
    alignment = "".join(_latex_column(table, position) for position in range(len(table.columns)))
    caption = " ".join(latex_escape(text) for text in (table.caption, *table.notes))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{table.name.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _latex_row([latex_escape(column.title) for column in table.columns]),
            r"\midrule",
            *(_latex_row([_latex_cell(cell) for cell in row]) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


FORMATS: dict[str, Callable[[Table], str]] = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}
"""The forms of a table that are files of their own, by their endings."""


def to_html(table: Table, places: Mapping[str, int] | None = None) -> Markup:
    """Return a `<table>` element; names inside stay text, whatever they hold.

    Args:
        table: the table.
        places: arm → its position in the study, by which the page knows the rows and columns that it may hide.

    """
    return Markup(ENVIRONMENT.get_template("table.html").render(table=table, places=places or {}))


def latex_escape(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    return "".join(LATEX.get(character, character) for character in _one_line(text))


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


def _latex_column(table: Table, position: int) -> str:
    """Return a column's alignment; one with long texts is set as paragraphs, or it would leave the paper."""
    if table.columns[position].numeric:
        return "r"
    longest = max((len(row[position].text) for row in table.rows), default=0)
    return r"p{0.25\linewidth}" if longest > LONGEST_LATEX_WORDS else "l"


def _latex_row(cells: list[str]) -> str:
    # Braces keep a cell that starts with "[" from being read as the option of the row end before it.
    cells = [f"{{{cell}}}" if cell.startswith("[") else cell for cell in cells]
    return f"{' & '.join(cells)} \\\\"


def _latex_cell(cell: Cell) -> str:
    text = latex_escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.strong and text else text


def _alignment(column: Column) -> str:
    return "number" if column.numeric else "words"


def unbroken(text: str) -> str:
    """Return numbers that may break across lines only before their interval."""
    return re.sub(r" (?!\[)", "\N{NO-BREAK SPACE}", text)


def tied(text: str) -> str:
    """Return a sentence whose signs and units stay with their numbers, and intervals on one line."""
    text = re.sub(r"\[[^\]]{,40}\]", lambda interval: interval[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return re.sub(r"(?<=[=<±×\d]) (?=[%\d])|(?<=\d) (?=[±×] |[kMGT]\b)|(?<=\bp) (?=[=<])", "\N{NO-BREAK SPACE}", text)


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
