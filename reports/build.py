"""The entry points: the folder of a study in, or those of two, the path of a page out."""

from __future__ import annotations

from pathlib import Path


def build(folder: Path) -> Path:
    """Write `folder`/report (page, tables, figures) from what the study has left so far; return the page's path.

    A pure function of the runs: building twice gives the same bytes. A half-finished study gives a page that says what
    is missing.

    Raises:
        UserError: the folder holds no study, or the report cannot be written there.

    """
    # Imported here: the command line imports this package to show its help, and that must stay instant.
    from reports.sources import read_sources
    from reports.writing import REPORT_FOLDER, write_report

    folder = Path(folder)
    return write_report(*read_sources(folder), folder / REPORT_FOLDER)


def build_beside(first: Path, second: Path, out: Path | None = None) -> Path:
    """Write a page that shows two studies side by side, with its tables and figure; return the page's path.

    Args:
        first: the folder of the study that is called A in the page.
        second: that of B.
        out: where to write; `first`/beside-NAME when None, with the name of the second folder.

    Raises:
        UserError: both are one folder, one holds no study, or `out` cannot be written or holds something else.

    """
    from deepsight.errors import UserError
    from reports.beside.sides import read_side
    from reports.beside.writing import write_beside

    first, second = Path(first), Path(second)
    a, b = read_side("A", first), read_side("B", second)
    if first.resolve() == second.resolve():
        raise UserError(f"{first} and {second} are the same folder; two studies are needed to see them side by side")
    return write_beside(a, b, out or first / f"beside-{b.folder}")
