"""The entry point: the folder of a study in, the path of its page out."""

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
