"""The tables of what ran: what differs between the arms' configurations, every trial, and what the trials ran with."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from ablations.stored import StoredStudy
from deepsight.training.names import CONFIG_FILE
from reports import numbers
from reports.frames import complete_trials, configuration, rows_of
from reports.main_table import has_bits_per_byte
from reports.records import Records, summary
from reports.table import ARM, Cell, Column, Table, columns_of, number_cell
from reports.wording import setting_text


def configuration_differences(study: StoredStudy, trials: pd.DataFrame) -> Table:
    """Return what the arms' resolved configurations do not have in common, and nothing else.

    One row an arm, or one row a key where there are more keys than arms; always one row an arm in the data.
    """
    differences = configuration(study, complete_trials(study, trials))
    texts = differences.map(setting_text)
    keys, arms = [str(key) for key in texts.columns], [arm.name for arm in study.arms]
    if len(keys) > len(arms):
        columns = (Column("key"), *(Column(arm, arm=arm) for arm in arms))
        rows = [[key, *(texts.at[arm, key] for arm in arms)] for key in keys]
    else:
        columns = columns_of([ARM, *keys], numeric_from=len(keys) + 1)
        rows = [[arm, *(texts.at[arm, key] for key in keys)] for arm in arms]
    return Table(
        name="configuration_differences",
        caption="What differs between the arms' resolved configurations; everything else is the same.",
        columns=columns,
        rows=tuple(tuple(Cell(str(text)) for text in row) for row in rows),
        notes=(
            *(f"{arm.name}: {note}" for arm in study.arms for note in arm.notes),
            *(f"{cell.name}: left out, {cell.reason}" for cell in study.skipped),
        ),
        data=differences.reset_index(names="arm"),
    )


def every_trial(study: StoredStudy, trials: pd.DataFrame, records: Records) -> Table:
    """Return one row a trial, linked to its folder and to its configuration where there is one."""
    trials = complete_trials(study, trials)
    bits = has_bits_per_byte(trials)
    rows = tuple(
        (
            trial_cell(row.trial),
            Cell(str(row.arm)),
            Cell(str(row.seed), key=float(row.seed)),
            Cell(str(row.status), kind=str(row.status)),
            number_cell(row.train_loss),
            number_cell(row.validation_loss),
            *([number_cell(row.bits_per_byte)] if bits else []),
            Cell(numbers.duration(row.seconds), key=row.seconds),
            file_cell(row.trial, CONFIG_FILE, records.configured),
        )
        for row in rows_of(trials)
    )
    columns = (
        Column("trial"),
        Column("arm"),
        Column("seed", numeric=True),
        Column("status"),
        Column("train loss", numeric=True, sortable=False),
        Column("validation loss", numeric=True),
        *([Column("bits per byte", numeric=True)] if bits else []),
        Column("time", numeric=True),
        Column("configuration", sortable=False),
    )
    return Table(
        name="trials",
        caption="Every trial, with a link to its folder: configuration, metrics, result, provenance.",
        columns=columns,
        rows=rows,
        notes=(),
        data=trials.drop(columns="initial_weights"),
    )


def provenance(records: Records) -> Table | None:
    """Return what the trials ran with, one row a key; None where none has recorded it."""
    found = summary(records)
    if not found:
        return None
    return Table(
        name="provenance",
        caption="What the trials ran with.",
        columns=(Column("key", sortable=False), Column("value", sortable=False)),
        rows=tuple((Cell(key), Cell(value)) for key, value in found),
        notes=(),
        data=pd.DataFrame(found, columns=["key", "value"]),
    )


def trial_cell(trial: Any) -> Cell:
    """Return the short id of a trial, linked to its folder."""
    identifier = str(trial)
    return Cell(identifier[:12], link=_address(identifier), kind="trial")


def file_cell(trial: Any, name: str, holders: Collection[str]) -> Cell:
    """Return the name of a file, linked to it in the trial's folder if the trial is one of those that hold it."""
    folder = _address(str(trial))
    return Cell(name, link=f"{folder}{name}") if folder and trial in holders else Cell(numbers.MISSING)


def _address(trial: str) -> str | None:
    """Return the trial's folder as seen from the page; ids are hexadecimal, anything else is no part of an address."""
    return f"../trials/{trial}/" if trial.isalnum() else None
