r"""A table as LaTeX that fits a page: booktabs, headings over several lines, and blocks of columns where they are many.

Widths are estimated from the characters. A table that is wider than `TEXT_WIDTH` is set in smaller type, and what is
wider still is parted into blocks one below the other, each with the first column; nothing is scaled. The head of the
file says what the table needs.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from reports.latex_text import breakable, latex_escape, not_in_font
from reports.table import Cell, Table
from reports.wording import tied

TEXT_WIDTH = 5.5
"""Inches: the text of the narrower one-column papers, and less than both columns of others."""
COLUMN_WIDTH = 3.25
"""Inches: one of two columns."""
POINTS = 72.27
"""Points of an inch."""
LONGEST_WORDS = 24
"""Characters of a column of words; one with longer texts is set as paragraphs."""
MOST_LINES = 50
"""Lines that a page holds below a caption."""
BOLD = 1.15
"""How much wider bold letters are."""
WIDTHS = {
    **dict.fromkeys(".,:;'!|[]il", 0.56),
    **dict.fromkeys(" ()/-fjrst", 0.75),
    **dict.fromkeys("+−±×=<>→≥≤mwMW%@", 1.6),
    **dict.fromkeys("ABCDEFGHKLNOPQRTUVXYZ", 1.45),
}
"""Widths of characters as multiples of that of a digit, which the others have."""
SAFETY = 1.02
"""An estimate that is a little too small would leave the text."""
MOST_TITLE_LINES = 3


@dataclass(frozen=True)
class Size:
    """A size of type: its command, how wide a digit is, and the space at each side of a column, in points."""

    command: str
    digit: float
    space: float


SIZES = (Size("", 5.0, 6.0), Size(r"\small", 4.63, 4.0), Size(r"\footnotesize", 4.25, 3.0))


def to_latex(table: Table) -> str:
    """Return a LaTeX table environment for the booktabs package, its notes below it."""
    every = range(len(table.columns))
    size = next((size for size in SIZES if _inches(table, every, size) <= TEXT_WIDTH), SIZES[-1])
    blocks = _blocks(table, size)
    lines = [r"\begin{table}", r"\centering"]
    if size.command:
        lines += [size.command, rf"\setlength{{\tabcolsep}}{{{size.space:g}pt}}"]
    lines += [
        rf"\caption{{{latex_escape(tied(table.caption))}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\smallskip",
    ]
    for position, block in enumerate(blocks):
        lines += ["", r"\medskip"] if position else []
        lines += _tabular(table, block)
    if table.notes:
        notes = " ".join(latex_escape(tied(note)) for note in table.notes)
        lines += ["", r"\medskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes}}}"]
    lines += [r"\end{table}", ""]
    return "\n".join([*_head(table, blocks, size, "\n".join(lines)), *lines])


def _head(table: Table, blocks: Sequence[Sequence[int]], size: Size, text: str) -> list[str]:
    """Return what an author has to know, as comments."""
    width = max(_inches(table, block, size) for block in blocks)
    wrapped = any(_is_paragraphs(table, position) for block in blocks for position in block)
    foreign = not_in_font(text)
    height = len(blocks) * sum(_lines(table, row) for row in table.rows)
    lines = [
        rf"needs \usepackage{{{'array,booktabs' if wrapped else 'booktabs'}}}",
        f"about {width:.1f} in wide" + (", which in two columns needs table*" if width > COLUMN_WIDTH else ""),
        f"parted into {len(blocks)} blocks of columns, each with the first" if len(blocks) > 1 else "",
        f"about {height} lines, more than a page: leave some out, or use longtable" if height > MOST_LINES else "",
        f"needs XeLaTeX or LuaLaTeX, and a font that has {' '.join(foreign)}" if foreign else "",
    ]
    return [f"% {line}" for line in lines if line]


def _blocks(table: Table, size: Size) -> list[list[int]]:
    """Return the columns of each block: as few blocks as hold them, of about one width."""
    fewest = _parted(table, size, TEXT_WIDTH)
    narrower = (_parted(table, size, TEXT_WIDTH * percent / 100) for percent in range(50, 100, 5))
    return next((blocks for blocks in narrower if len(blocks) == len(fewest)), fewest)


def _parted(table: Table, size: Size, inches: float) -> list[list[int]]:
    blocks = [[0]]
    for position in range(1, len(table.columns)):
        if len(blocks[-1]) > 1 and _inches(table, [*blocks[-1], position], size) > inches:
            blocks.append([0])
        blocks[-1].append(position)
    return blocks


def _inches(table: Table, block: Sequence[int], size: Size) -> float:
    points = sum(_characters(table, position) * size.digit + 2 * size.space for position in block)
    return SAFETY * points / POINTS


def _characters(table: Table, position: int) -> float:
    """Return the width of a column in digits."""
    if _is_paragraphs(table, position):
        return LONGEST_WORDS
    cells = max((_length(row[position]) for row in table.rows), default=0.0)
    return max([cells, *(_width(line) for line in _title_lines(table.columns[position].title, cells))])


def _title_lines(title: str, room: float) -> list[str]:
    """Return the lines of a column's title: as wide as its cells, and wider where it would take too many."""
    # A line break inside brackets would part an interval from its level.
    title = re.sub(r"\[.*?\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), title)
    least = max(int(room), *(len(word) for word in title.split(" ")))
    wrapped = (textwrap.wrap(title, width, break_on_hyphens=False) for width in range(least, least + len(title) + 1))
    return next(lines for lines in wrapped if len(lines) <= MOST_TITLE_LINES)


def _lines(table: Table, row: Sequence[Cell]) -> int:
    """Return the lines of type that a row takes."""
    paragraphs = (cell for position, cell in enumerate(row) if _is_paragraphs(table, position))
    return max((math.ceil(_length(cell) / LONGEST_WORDS) for cell in paragraphs), default=1)


def _length(cell: Cell) -> float:
    return _width(cell.text) * (BOLD if cell.strong else 1.0)


def _width(text: str) -> float:
    return sum(WIDTHS.get(character, 1.0) for character in text)


def _is_paragraphs(table: Table, position: int) -> bool:
    """Return whether a column is set as paragraphs, its title too: where either is long."""
    column = table.columns[position]
    word = max(map(len, column.title.split()), default=0)
    if word > LONGEST_WORDS or len(column.title) > MOST_TITLE_LINES * LONGEST_WORDS:
        return True
    return not column.numeric and max((len(row[position].text) for row in table.rows), default=0) > LONGEST_WORDS


def _tabular(table: Table, block: Sequence[int]) -> list[str]:
    body = len(table.rows) - table.totals
    rows = [_row([_cell(table, row, position) for position in block]) for row in table.rows]
    if any(_is_paragraphs(table, position) for position in block):
        rows[1:body] = [rf"\addlinespace[2pt] {row}" for row in rows[1:body]]
    return [
        rf"\begin{{tabular}}{{{''.join(_alignment(table, position) for position in block)}}}",
        r"\toprule",
        _row([_heading(table, position) for position in block]),
        r"\midrule",
        *rows[:body],
        *([r"\midrule", *rows[body:]] if table.totals else []),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _alignment(table: Table, position: int) -> str:
    numeric = table.columns[position].numeric
    if _is_paragraphs(table, position):
        return rf">{{\ragged{'left' if numeric else 'right'}\arraybackslash}}p{{{LONGEST_WORDS / 2:g}em}}"
    return "r" if numeric else "l"


def _heading(table: Table, position: int) -> str:
    """Return a column's title over as many lines as its cells leave it."""
    column = table.columns[position]
    if _is_paragraphs(table, position):
        return breakable(column.title)
    lines = [_guarded(latex_escape(line)) for line in _title_lines(column.title, _characters(table, position))]
    if len(lines) < 2:
        return "".join(lines)
    side, stacked = "r" if column.numeric else "l", r" \\ ".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stacked}\end{{tabular}}"


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(_guarded, cells))} \\\\"


def _guarded(text: str) -> str:
    """Return a text that is no option of the row end before it."""
    return f"{{{text}}}" if text.startswith("[") else text


def _cell(table: Table, row: Sequence[Cell], position: int) -> str:
    cell = row[position]
    text = breakable(cell.text) if _is_paragraphs(table, position) else latex_escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.strong and text else text
