"""What probes found, as tables: the one that is read first, and all of them for files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ablations.probed import IDENTITY, Probed
from reports import numbers
from reports.board_table import board_table
from reports.drafting_table import drafting_table
from reports.future_tables import bag_table, future_table
from reports.gradient_table import gradient_table
from reports.plan_use_table import plan_use_table
from reports.table import Cell, Column, Table
from reports.token_losses_table import token_losses_table

MOST_ROWS = 24

MAIN: dict[str, Callable[[Mapping[str, pd.DataFrame]], Table]] = {
    "board": board_table,
    "drafting": drafting_table,
    "future": future_table,
    "future_bag": bag_table,
    "plan_use": plan_use_table,
    "token_losses": token_losses_table,
    "gradient_evidence": gradient_table,
}
"""Probe → what makes its main table of its tables by name; a probe that is not here shows the head of its first."""


def main_table(probe: str, found: Probed) -> Table | None:
    """Return what is read first of a probe; None where it found nothing."""
    tables = found.tables(probe)
    if not tables:
        return None
    if probe in MAIN:
        return MAIN[probe](tables)
    name, frame = next(iter(tables.items()))
    return plain_table(f"{probe}_{name}", f"What the probe {probe} found ({name}).", frame)


def csv_files(probe: str, found: Probed) -> dict[str, str]:
    """Return all tables of a probe, unrounded, as file name → CSV."""
    return {
        f"{probe}_{name}.csv": str(frame.map(_plain).to_csv(index=False, lineterminator="\n"))
        for name, frame in found.tables(probe).items()
    }


def plain_table(name: str, caption: str, frame: pd.DataFrame) -> Table:
    """Return the first rows of a frame as they are; of columns that tell runs apart, those that do."""
    shown = frame.drop(columns=[column for column in IDENTITY if column == "trial" or frame[column].nunique() < 2])
    rows = shown.head(MOST_ROWS)
    left = len(shown) - len(rows)
    return Table(
        name=name,
        caption=caption,
        columns=tuple(Column(str(title), numeric=_is_numeric(shown[title])) for title in shown.columns),
        rows=tuple(tuple(_cell(value) for value in row) for row in rows.itertuples(index=False)),
        notes=(f"{left:,} further rows are in the file.",) if left else (),
        data=frame,
    )


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _is_numeric(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))


def _cell(value: Any) -> Cell:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Cell(numbers.MISSING)
    if isinstance(value, float):
        return Cell(numbers.fixed(value), key=value)
    return Cell(str(_plain(value)))
