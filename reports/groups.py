"""The named groups of a study's arms, as a column of any table that has a row for each arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ablations.stored import StoredStudy
from reports import numbers
from reports.table import ARM, Cell, Column, Table

GROUP = "group"


def grouped(study: StoredStudy, table: Table) -> Table:
    """Return the table with the group of each row's arm beside it; the same table where the study has no groups."""
    groups = {arm.name: arm.group for arm in study.arms}
    if not any(groups.values()):
        return table
    return inserted(table, GROUP, {arm: group or numbers.MISSING for arm, group in groups.items()}, groups)


def inserted(table: Table, title: str, texts: Mapping[str, str], values: Mapping[str, str | None]) -> Table:
    """Return the table with a column beside its arms; the same table where it has no column of arms.

    Args:
        table: any of the study's.
        title: of the column; in the data its spaces are underscores.
        texts: arm → what is read; nothing in a row that is no arm's, such as that of all trials.
        values: arm → what is in the data.

    """
    titles = [column.title for column in table.columns]
    if ARM not in titles:
        return table
    place = titles.index(ARM) + 1
    data = table.data.copy()
    data.insert(list(data.columns).index(ARM) + 1, title.replace(" ", "_"), data[ARM].map(dict(values)))
    return replace(
        table,
        columns=(*table.columns[:place], Column(title), *table.columns[place:]),
        rows=tuple((*row[:place], Cell(texts.get(row[place - 1].text, "")), *row[place:]) for row in table.rows),
        data=data,
    )
