"""What stands behind each arm's numbers: its settings, and its trials with their files and curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from ablations.stored import StoredArm, StoredStudy
from deepsight.training.names import CONFIG_FILE, METRICS_FILE
from reports import numbers
from reports.frames import complete_curves, complete_trials, rows_of
from reports.records import Records
from reports.references import references
from reports.small_curves import SmallAxes, small_axes, small_curve
from reports.table import Cell, Column, Table
from reports.tables import file_cell, trial_cell
from reports.wording import counted, setting_text


@dataclass(frozen=True)
class TrialLine:
    """One trial of an arm: its seed, what became of it, and where its files are."""

    seed: int
    trial: Cell
    status: str
    validation_loss: str
    curve: Markup
    files: tuple[Cell, ...]


@dataclass(frozen=True)
class ArmPanel:
    """One arm: what it is in the study, what it changes in the base, and its trials."""

    name: str
    state: str
    settings: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    trials: tuple[TrialLine, ...]


@dataclass(frozen=True)
class ArmPanels:
    """The panels of all arms, in the study's order, and the axes that their curves share."""

    axes: SmallAxes | None
    panels: tuple[ArmPanel, ...]


def arm_panels(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, records: Records) -> ArmPanels:
    """Return a panel for each arm."""
    trials, curves = complete_trials(study, trials), complete_curves(study, curves)
    axes = small_axes(trials, curves)
    evaluations = dict(iter(curves.groupby(["arm", "trial"], sort=False)))
    panels = []
    for arm in study.arms:
        rows = trials[trials["arm"] == arm.name]
        lines = tuple(
            TrialLine(
                seed=int(row.seed),
                trial=_folder(trial_cell(row.trial), row, records),
                status=str(row.status),
                validation_loss=numbers.fixed(row.validation_loss),
                curve=_curve(axes, evaluations.get((arm.name, row.trial))),
                files=_files(row.trial, records),
            )
            for row in rows_of(rows)
        )
        done = int((rows["status"] == "done").sum())
        panels.append(ArmPanel(arm.name, _state(study, arm, done), _settings(arm), tuple(arm.notes), lines))
    return ArmPanels(axes, tuple(panels))


def linked(table: Table, places: Mapping[str, int]) -> Table:
    """Return the table with its arms' names and numbers linked to their panels; links that it has stay.

    Args:
        table: any of the study's.
        places: arm → its position in the study.

    """
    rows = []
    for arm, row in zip(table.arms, table.rows, strict=True):
        place = None if arm is None else places.get(arm)
        cells = zip(table.columns, row, strict=True)
        linked = (replace(cell, link=f"#arm-{place}") if _leads(column, cell) else cell for column, cell in cells)
        rows.append(row if place is None else tuple(linked))
    return replace(table, rows=tuple(rows))


def _leads(column: Column, cell: Cell) -> bool:
    return cell.link is None and cell.text != numbers.MISSING and (column.numeric or column.names_arms)


def _state(study: StoredStudy, arm: StoredArm, done: int) -> str:
    kind = "reference, " if arm.name in references(study) else "control, " if arm.control else ""
    return f"{kind}{done} of {counted(len(arm.trials), 'trial')} done"


def _settings(arm: StoredArm) -> tuple[tuple[str, str], ...]:
    tuned: dict[str, Any] = next((dict(one.settings) for one in arm.candidates if one.chosen), {})
    return (
        *((key, setting_text(value)) for key, value in arm.settings.items()),
        *((f"{key} (tuned)", setting_text(value)) for key, value in tuned.items()),
    )


def _curve(axes: SmallAxes | None, rows: pd.DataFrame | None) -> Markup:
    return Markup("") if axes is None or rows is None else small_curve(axes, rows)


def _folder(cell: Cell, row: Any, records: Records) -> Cell:
    """Return the trial with the link to its folder, without one where nothing began and so no folder is."""
    began = row.status != "pending" or row.trial in records.configured
    return cell if began else replace(cell, link=None)


def _files(trial: Any, records: Records) -> tuple[Cell, ...]:
    cells = (file_cell(trial, CONFIG_FILE, records.configured), file_cell(trial, METRICS_FILE, records.measured))
    return tuple(cell for cell in cells if cell.link)
