"""One table: what it shows, rounded for reading, and the data behind it in full precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports import numbers

ARM = "arm"
"""The title of the column that names the arm of each row."""


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        text: what is read.
        key: what the page sorts by; the text where it is None.
        strong: shown in bold.
        link: an address relative to the report's folder.
        kind: a word the page may colour by, such as a verdict or a status.

    """

    text: str
    key: float | None = None
    strong: bool = False
    link: str | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        numeric: whether it holds numbers.
        sortable: whether the page may sort, and so rank, by it.
        arm: the arm that the whole column is of, where arms stand side by side.

    """

    title: str
    numeric: bool = False
    sortable: bool = True
    arm: str | None = None

    @property
    def names_arms(self) -> bool:
        """Whether its cells say which arm each row is of."""
        return self.title == ARM and self.arm is None


@dataclass(frozen=True)
class Table:
    """A table in every form it may be written in.

    Attributes:
        name: file name without ending.
        caption: one sentence: what the table shows.
        notes: sentences that a reader needs below it.
        data: the same content, unrounded, one named column per quantity; written as CSV.
        totals: how many of the last rows sum up the others, and stay last when the page sorts.

    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    data: pd.DataFrame
    totals: int = 0

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)

    @property
    def arms(self) -> tuple[str | None, ...]:
        """The arm that each row is of; None for totals, and in a table that has no column of arms."""
        place = next((at for at, column in enumerate(self.columns) if column.names_arms), None)
        if place is None:
            return (None,) * len(self.rows)
        body = len(self.rows) - self.totals
        return (*(row[place].text for row in self.rows[:body]), *([None] * self.totals))


def count_cell(value: float) -> Cell:
    """Return a cell with a count, thousands separated."""
    return Cell(numbers.whole(value), key=value)


def number_cell(value: float, decimals: int = numbers.DECIMALS) -> Cell:
    """Return a cell with a fixed number of decimals."""
    return Cell(numbers.fixed(value, decimals), key=value)


def columns_of(titles: Sequence[str], numeric_from: int = 1) -> tuple[Column, ...]:
    """Return columns of which those from position `numeric_from` on hold numbers."""
    return tuple(Column(title, numeric=position >= numeric_from) for position, title in enumerate(titles))
