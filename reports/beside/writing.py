"""From two studies to the files of a page that shows them side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deepsight.errors import UserError
from deepsight.files import write_text
from reports.beside.arms import arms_in_both, arms_only_in
from reports.beside.comparable import remarks
from reports.beside.figure import differences
from reports.beside.settings import study_differences
from reports.beside.sides import Side
from reports.finding import Finding
from reports.page import PageFigure, rendered
from reports.table import Table
from reports.task_finding import tell
from reports.warnings import StudyWarning, study_warnings
from reports.writing import INDEX, remove_others, write_figures, write_table

ALWAYS = Path("tables") / "main_a.csv"
"""A file that is in every folder with such a page, and in no other."""


@dataclass(frozen=True)
class Told:
    """What a study says for itself."""

    side: Side
    finding: Finding
    warnings: tuple[StudyWarning, ...]


@dataclass(frozen=True)
class BesidePage:
    """All that a page of two studies shows."""

    sides: tuple[Told, Told]
    remarks: tuple[str, ...]
    tables: Mapping[str, Table]
    figures: tuple[PageFigure, ...]

    @property
    def title(self) -> str:
        """The names of both studies."""
        first, second = (told.side.study.name for told in self.sides)
        return f"{first} beside {second}"


def write_beside(a: Side, b: Side, out: Path) -> Path:
    """Write page, tables and figure of two studies into `out` and return the page's path; same input, same bytes.

    Raises:
        UserError: the folder holds something else, or cannot be written.

    """
    tables = [
        *(_in_full(side) for side in (a, b)),
        study_differences(a, b),
        arms_in_both(a, b),
        arms_only_in(a, b),
        arms_only_in(b, a),
    ]
    shown = {table.name: table for table in tables if table is not None}
    figure = differences(a, b)
    try:
        _check(out)
        kept = [file for table in shown.values() for file in write_table(table, out / "tables")]
        figures, files = write_figures([figure] if figure is not None else [], out / "figures")
        page = BesidePage((_told(a), _told(b)), tuple(remarks(a, b)), shown, tuple(figures))
        write_text(out / INDEX, rendered("beside.html", page, {}))
        remove_others(out, {*kept, *files})
    except OSError as error:
        raise UserError(f"{out}: the page cannot be written here: {error.strerror or error}") from error
    return out / INDEX


def _check(out: Path) -> None:
    """Refuse a folder of which files would be replaced or removed that are not an earlier page's."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / ALWAYS).is_file())):
        raise UserError(f"{out}: this is not empty and holds no page of two studies; choose another --out")


def _told(side: Side) -> Told:
    frames = (side.study, side.trials)
    return Told(
        side,
        tell(*frames, side.curves, side.comparisons),
        tuple(study_warnings(*frames, side.curves, side.comparisons)),
    )


def _in_full(side: Side) -> Table:
    letter = side.letter
    return replace(side.main, name=f"main_{letter.lower()}", caption=f"{letter}: {side.main.caption}")
