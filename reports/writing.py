"""From a study and its frames to the files of a report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ablations.stored import StoredStudy
from deepsight.errors import UserError
from deepsight.files import atomic_path, write_text
from reports import images, tables
from reports.accounts import failures, ledger
from reports.arm_panels import arm_panels
from reports.comparisons import compare
from reports.effects import factor_effects
from reports.efficiency import efficiency
from reports.fairness import fairness
from reports.figures.catalogue import NamedFigure, all_figures
from reports.finding import find
from reports.frames import complete_curves, complete_trials
from reports.main_table import main_table
from reports.page import Page, PageFigure, render
from reports.pairing import pairing
from reports.published_table import published_comparison
from reports.records import Records
from reports.table import Table
from reports.table_formats import FORMATS
from reports.task_finding import find_success
from reports.task_study import task_study
from reports.task_table import task_table
from reports.warnings import study_warnings

REPORT_FOLDER = "report"
"""Where a study's report is, in its folder."""
INDEX = "index.html"


def write_report(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, records: Records, out: Path) -> Path:
    """Write page, tables and figures into `out` and return the page's path; the same input gives the same bytes.

    Each file appears whole; the page comes last, and then what an earlier report left in `out`/tables and `out`/figures
    goes.

    Raises:
        UserError: the files cannot be written.

    """
    trials, curves = complete_trials(study, trials), complete_curves(study, curves)
    comparisons = compare(study, trials)
    task = task_study(study, trials, curves, comparisons)
    all_tables = {
        table.name: table
        for table in (
            task_table(task) if task else None,
            main_table(study, trials, comparisons, of_answers=task is not None),
            published_comparison(study, trials, comparisons),
            fairness(study, trials, curves, comparisons),
            efficiency(study, curves, comparisons),
            factor_effects(study, trials),
            failures(study, trials),
            ledger(study, trials),
            pairing(study, comparisons),
            tables.configuration_differences(study, trials),
            tables.every_trial(study, trials, records),
            tables.provenance(records),
        )
        if table is not None
    }
    try:
        kept = [file for table in all_tables.values() for file in write_table(table, out / "tables")]
        page_figures, figure_files = write_figures(
            all_figures(study, trials, curves, records.breakdowns, records.probed, records.gradients), out / "figures"
        )
        page = Page(
            study=study,
            finding=find_success(task, trials, comparisons) if task else find(study, trials, comparisons),
            warnings=tuple(study_warnings(study, trials, curves, comparisons)),
            tables=all_tables,
            figures=tuple(page_figures),
            arms=arm_panels(study, trials, curves, records),
        )
        write_text(out / INDEX, render(page))
        remove_others(out, {*kept, *figure_files})
    except OSError as error:
        raise UserError(f"{out}: the report cannot be written here: {error.strerror or error}") from error
    return out / INDEX


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write a table in every form into a folder and return the files."""
    files = [folder / f"{table.name}{ending}" for ending in FORMATS]
    for file in files:
        write_text(file, FORMATS[file.suffix](table))
    return files


def write_figures(figures: Iterable[NamedFigure], folder: Path) -> tuple[list[PageFigure], list[Path]]:
    """Write figures as SVG and PNG into a folder; return them as they stand in a page, and the files."""
    shown, files = [], []
    for drawn in figures:
        svg, png = images.to_svg(drawn.figure), images.to_png(drawn.figure)
        write_text(folder / f"{drawn.name}.svg", svg)
        with atomic_path(folder / f"{drawn.name}.png") as temporary:
            temporary.write_bytes(png)
        files += [folder / f"{drawn.name}.{ending}" for ending in ("svg", "png")]
        image = images.for_page(drawn.name, svg, png, f"{drawn.title}. {drawn.caption}")
        shown.append(PageFigure(drawn.name, drawn.title, drawn.caption, image, float(drawn.figure.get_figwidth())))
        drawn.figure.clear()
    return shown, files


def remove_others(out: Path, kept: set[Path]) -> None:
    """Remove the tables and figures that an earlier page left in `out`."""
    for pattern in (*(f"tables/*{ending}" for ending in FORMATS), "figures/*.svg", "figures/*.png"):
        for file in out.glob(pattern):
            if file not in kept:
                file.unlink()
