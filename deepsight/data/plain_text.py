"""Four ways to cut a text file into documents; each reads the file piece by piece."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TextIO

from deepsight.errors import UserError

Cut = Literal["article", "file", "passage", "line"]

PASSAGE_CHARACTERS = 4096
"""A passage ends at the first blank line after so many characters."""

LONGEST_PASSAGE = 4 * PASSAGE_CHARACTERS
"""A passage ends here at a line's end, where no blank line comes before."""

LONGEST_LINE = 1 << 16
"""Passages are cut inside a line only where the line is longer than this."""

PIECE = 1 << 20
"""Characters of a whole file that are read at a time."""

LARGEST_WHOLE_FILE = 1 << 20
"""Bytes up to which a file is taken as one document unless told."""

_HEADING = re.compile(r" = (?!=)(.*\S) (?<!= )= *$")


def best_cut(path: Path, *, only: bool) -> Cut:
    """Return how a file is cut when nobody says how; `only` where the corpus has no other file."""
    first = next((line for _, line in _limited_lines(path) if line.strip()), "")
    if _title(first):
        return "article"
    return "passage" if only or path.stat().st_size > LARGEST_WHOLE_FILE else "file"


def articles(path: Path) -> Iterator[tuple[str, str]]:
    """Yield title and text (heading included) of each article; a text before the first heading has no title.

    A heading is a line `` = Title = `` after a blank line or at the beginning; `` = = Section = = `` is none.
    """
    title, collected, after_blank = "", list[str](), True
    for _, line in _limited_lines(path):
        heading = _title(line) if after_blank else ""
        if heading:
            yield title, "".join(collected).strip()
            title, collected = heading, []
        collected.append(line)
        after_blank = not line.strip()
    yield title, "".join(collected).strip()


def passages(path: Path) -> Iterator[tuple[str, str]]:
    """Yield number and text of each passage."""
    number, collected, size = 1, list[str](), 0
    for _, line in _limited_lines(path):
        collected.append(line)
        size += len(line)
        if size >= LONGEST_PASSAGE or (size >= PASSAGE_CHARACTERS and not line.strip()):
            yield f"passage {number}", "".join(collected).strip()
            number, collected, size = number + 1, [], 0
    yield f"passage {number}", "".join(collected).strip()


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield number and text of each line, without its end."""
    return ((number, line.rstrip("\n")) for number, line in _limited_lines(path, longest=-1))


def whole(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the whole file, without a name of its own."""
    yield "", "".join(_pieces(path, lambda file: file.read(PIECE)))


def _title(line: str) -> str:
    match = _HEADING.match(line.rstrip("\n"))
    return match.group(1) if match else ""


def _limited_lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[tuple[str, str]]:
    """Yield number and text of each line; a line of more than `longest` characters comes in several parts.

    Raises:
        UserError: the file is not UTF-8, or cannot be opened.

    """
    pieces = _pieces(path, lambda file: file.readline(longest))
    return ((str(number), part) for number, part in enumerate(pieces, start=1))


def _pieces(path: Path, read: Callable[[TextIO], str]) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from iter(lambda: read(file), "")
    except UnicodeDecodeError:
        raise UserError(f"{path}:{_first_bad_line(path)}: this line is not UTF-8; convert the file first") from None
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read: {error.strerror}") from None


def _first_bad_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
