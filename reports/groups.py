"""The named groups of a study's arms, as a column of any table that has a row for each arm."""

from __future__ import annotations

from dataclasses import replace

from ablations.stored import StoredStudy
from reports import numbers
from reports.table import ARM, Cell, Column, Table

GROUP = "group"


def grouped(study: StoredStudy, table: Table) -> Table:
    """Return the table with the group of each row's arm beside it; the same table where the study has no groups."""
    groups = {arm.name: arm.group for arm in study.arms}
    titles = [column.title for column in table.columns]
    if ARM not in titles or not any(groups.values()):
        return table
    place = titles.index(ARM) + 1
    data = table.data.copy()
    data.insert(list(data.columns).index(ARM) + 1, GROUP, data[ARM].map(groups))
    return replace(
        table,
        columns=(*table.columns[:place], Column(GROUP), *table.columns[place:]),
        rows=tuple((*row[:place], _cell(groups, row[place - 1].text), *row[place:]) for row in table.rows),
        data=data,
    )


def _cell(groups: dict[str, str | None], arm: str) -> Cell:
    """Return the group of an arm; nothing in a row that is no arm's, such as that of all trials."""
    return Cell((groups[arm] or numbers.MISSING) if arm in groups else "")
