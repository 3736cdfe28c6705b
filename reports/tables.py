"""The tables of a study: main, failures, ledger, configuration differences, pairing, and every trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ablations.stored import StoredStudy
from deepsight.training.names import CONFIG_FILE
from reports import numbers
from reports.comparisons import Comparison
from reports.frames import STATUSES, complete_trials, configuration
from reports.records import Records
from reports.table import Cell, Column, Table, columns_of, count_cell, number_cell
from reports.wording import setting_text


def configuration_differences(study: StoredStudy, trials: pd.DataFrame) -> Table:
    """Return what the arms' resolved configurations do not have in common, and nothing else.

    One row an arm, or one row a key where there are more keys than arms; always one row an arm in the data.
    """
    differences = configuration(study, complete_trials(study, trials))
    texts = differences.map(setting_text)
    keys, arms = [str(key) for key in texts.columns], [arm.name for arm in study.arms]
    if len(keys) > len(arms):
        titles = ["key", *arms]
        rows = [[key, *(texts.at[arm, key] for arm in arms)] for key in keys]
    else:
        titles = ["arm", *keys]
        rows = [[arm, *(texts.at[arm, key] for key in keys)] for arm in arms]
    return Table(
        name="configuration_differences",
        caption="What differs between the arms' resolved configurations; everything else is the same.",
        columns=columns_of(titles, numeric_from=len(titles)),
        rows=tuple(tuple(Cell(str(text)) for text in row) for row in rows),
        notes=(
            *(f"{arm.name}: {note}" for arm in study.arms for note in arm.notes),
            *(f"{cell.name}: left out, {cell.reason}" for cell in study.skipped),
        ),
        data=differences.reset_index(names="arm"),
    )


def failures(study: StoredStudy, trials: pd.DataFrame) -> Table | None:
    """Return the failed trials with what happened to each; None where none failed."""
    trials = complete_trials(study, trials)
    failed = trials[trials["status"] == "failed"]
    if failed.empty:
        return None
    rows = tuple(
        (
            Cell(str(row.arm)),
            Cell(str(row.seed), key=float(row.seed)),
            Cell(_text(row.failure) or "failed", kind="failed"),
            Cell(_text(row.failure_message) or numbers.MISSING),
            trial_cell(row.trial),
        )
        for row in _rows(failed)
    )
    return Table(
        name="failures",
        caption="Trials that failed. Each takes its pair with it; nothing is imputed.",
        columns=(Column("arm"), Column("seed", numeric=True), Column("kind"), Column("message"), Column("trial")),
        rows=rows,
        notes=(),
        data=failed[["arm", "seed", "trial", "failure", "failure_message"]],
    )


def ledger(study: StoredStudy, trials: pd.DataFrame) -> Table:
    """Return how many trials each arm was given, how they ended, and what they cost."""
    trials = complete_trials(study, trials)
    arms = [_account(name, trials[trials["arm"] == name]) for name in (arm.name for arm in study.arms)]
    accounts = [*arms, _account("all trials", trials.drop_duplicates("trial"))]
    shared = int(trials["trial"].duplicated().sum())
    rows = tuple(
        (
            Cell(account["arm"], strong=account is accounts[-1]),
            *(count_cell(account[status]) for status in STATUSES),
            Cell(numbers.duration(account["seconds"]), key=account["seconds"]),
            Cell(numbers.quantity(account["tokens"]), key=account["tokens"]),
            Cell(numbers.memory(account["peak_memory"]), key=account["peak_memory"]),
        )
        for account in accounts
    )
    note = f"{shared} trials serve more than one arm, and count once in the last row." if shared else ""
    return Table(
        name="ledger",
        caption="Trials given to each arm, how they ended, and their time, tokens and largest peak memory.",
        columns=columns_of(["arm", *STATUSES, "time", "tokens", "peak memory"]),
        rows=rows,
        notes=(note,) if note else (),
        data=pd.DataFrame(accounts),
        totals=1,
    )


def pairing(study: StoredStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison]) -> Table | None:
    """Return the proof of pairing: which pairs saw the same batches, and what pairing brought."""
    every = list(comparisons.values())
    if not any(comparison.pairs.count for comparison in every):
        return None
    rows = tuple(
        (
            Cell(c.arm),
            count_cell(c.pairs.count),
            count_cell(len(c.pairs.dropped)),
            count_cell(c.pairs.same_batches),
            count_cell(c.pairs.same_initial),
            number_cell(c.correlation, 2),
        )
        for c in every
    )
    data = pd.DataFrame(
        [
            {
                "arm": c.arm,
                "pairs": c.pairs.count,
                "pairs_dropped": len(c.pairs.dropped),
                "pairs_with_same_batches": c.pairs.same_batches,
                "pairs_with_same_initial_weights": c.pairs.same_initial,
                "correlation": c.correlation,
            }
            for c in every
        ]
    )
    titles = ["arm", "pairs", "dropped", "same batches", "same initial weights", "correlation"]
    return Table(
        name="pairing",
        caption="Pairs with the reference: what both sides provably shared, and how their losses correlate over seeds.",
        columns=columns_of(titles),
        rows=rows,
        notes=(
            "Initial weights are compared as a whole, so only arms of the same shapes can share them; arms of "
            "different shapes still start equal wherever name and shape agree.",
        ),
        data=data,
    )


def every_trial(study: StoredStudy, trials: pd.DataFrame, records: Records) -> Table:
    """Return one row a trial, linked to its folder and to its configuration where there is one."""
    trials = complete_trials(study, trials)
    rows = tuple(
        (
            trial_cell(row.trial),
            Cell(str(row.arm)),
            Cell(str(row.seed), key=float(row.seed)),
            Cell(str(row.status), kind=str(row.status)),
            number_cell(row.train_loss),
            number_cell(row.validation_loss),
            number_cell(row.bits_per_byte),
            Cell(numbers.duration(row.seconds), key=row.seconds),
            _configuration_cell(str(row.trial), records),
        )
        for row in _rows(trials)
    )
    columns = (
        Column("trial"),
        Column("arm"),
        Column("seed", numeric=True),
        Column("status"),
        Column("train loss", numeric=True, sortable=False),
        Column("validation loss", numeric=True),
        Column("bits per byte", numeric=True),
        Column("time", numeric=True),
        Column("configuration", sortable=False),
    )
    return Table(
        name="trials",
        caption="Every trial, with a link to its folder: configuration, metrics, result, provenance.",
        columns=columns,
        rows=rows,
        notes=(),
        data=trials,
    )


def trial_cell(trial: Any) -> Cell:
    """Return the short id of a trial, linked to its folder."""
    identifier = str(trial)
    return Cell(identifier[:12], link=_address(identifier), kind="trial")


def _configuration_cell(trial: str, records: Records) -> Cell:
    if trial not in records.configured:
        return Cell(numbers.MISSING)
    return Cell(CONFIG_FILE, link=f"{_address(trial)}{CONFIG_FILE}")


def _address(trial: str) -> str | None:
    """Return the trial's folder as seen from the page; ids are hexadecimal, anything else is no part of an address."""
    return f"../trials/{trial}/" if trial.isalnum() else None


def _account(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    counts = rows["status"].value_counts()
    return {
        "arm": name,
        **{status: int(counts.get(status, 0)) for status in STATUSES},
        "seconds": float(rows["seconds"].sum()),
        "tokens": float(rows["tokens"].sum()),
        "peak_memory": float(rows["peak_memory"].max()),
    }


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    """Return the rows as named tuples; what a column holds is known from the contract, not from pandas' types."""
    return iter(frame.itertuples())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
