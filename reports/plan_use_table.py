"""How much decoders use what their encoders planned, as a table to read: the loss that another plan adds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from reports import numbers
from reports.statistics import EXPLORATORY_PAIRS, shown_interval
from reports.table import Cell, Table, columns_of
from reports.task_results import task_title

READERS = ("cross_attention", "bridge", "everything")
"""What several arms are compared by; single layers are shown of one arm alone."""
MOST_ROWS = 24


def plan_use_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return the loss that each replacement adds, one row an arm and reader; of a task also what is then answered."""
    increase, task = tables["increase"], tables.get("task")
    several = increase["arm"].nunique() > 1
    shown = increase[increase["read_by"].isin(READERS)] if several else increase
    replacements = list(dict.fromkeys(increase["replaced_by"]))
    added = {key: _added(of_key) for key, of_key in shown.groupby(["arm", "read_by", "replaced_by"], sort=False)}
    decimals = numbers.shared_decimals(half_width for _, half_width in added.values())
    keys = list(dict.fromkeys(zip(shown["arm"], shown["read_by"], strict=True)))
    rows = []
    for arm, reader in keys[:MOST_ROWS]:
        names = (Cell(str(arm)),) if several else ()
        cells = (_cell(*added[arm, reader, name], decimals) for name in replacements)
        rows.append((*names, Cell(in_words(reader)), *cells, *_answers(task, arm, reader, replacements)))
    titles = [*(["arm"] if several else []), "read by", *map(in_words, replacements)]
    first_number = len(titles) - len(replacements)
    if task is not None:
        titles += [_measure(task), *(f"{in_words(name)}: {_measure(task)}" for name in replacements)]
    return Table(
        name="plan_use",
        caption="Loss added where something else than its own encoder output is read (nats per token).",
        columns=columns_of(titles, numeric_from=first_number),
        rows=tuple(rows),
        notes=tuple(_notes(increase, several=several, left=len(keys) - len(rows))),
        data=increase,
    )


def in_words(name: str) -> str:
    """Return a name of these tables as people write it."""
    return name.replace("_", "-" if name == "cross_attention" else " ")


def _cell(mean: float, half_width: float, decimals: int) -> Cell:
    return Cell(numbers.with_half_width(mean, half_width, decimals), key=mean)


def _added(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the mean over seeds and how certain it is: where there is one seed, by its own documents."""
    mean, half_width = float(rows["increase"].mean()), math.nan
    if len(rows) >= EXPLORATORY_PAIRS:
        low, high = shown_interval(rows["increase"])
        half_width = (high - low) / 2
    elif len(rows) == 1:
        half_width = float(pd.to_numeric(rows["standard_error"]).iloc[0])
    return mean, half_width


def _answers(task: pd.DataFrame | None, arm: object, reader: object, replacements: list[str]) -> list[Cell]:
    if task is None:
        return []
    own = task[(task["arm"] == arm) & (task["read_by"] == reader)]
    values = [own["value"], *(own.loc[own["replaced_by"] == name, "replaced_value"] for name in replacements)]
    return [_value(float(of.mean()) if len(of) else math.nan, _is_share(task)) for of in values]


def _value(value: float, share: bool) -> Cell:
    return Cell(numbers.fixed(100 * value, 1) if share else numbers.fixed(value, 3), key=value)


def _measure(task: pd.DataFrame) -> str:
    name, _, _ = str(task["measure"].iloc[0]).partition("/")
    return f"{task_title(name)} (%)" if _is_share(task) else task_title(name)


def _is_share(task: pd.DataFrame) -> bool:
    return str(task["measure"].iloc[0]).endswith("/accuracy")


def _notes(increase: pd.DataFrame, *, several: bool, left: int) -> list[str]:
    seeds = increase.groupby("arm")["seed"].nunique()
    notes = []
    if "everything" in set(increase["read_by"]):
        notes.append("Where everything reads what is of another text, a decoder knows nothing of its own.")
    if seeds.max() == 1:
        notes.append("± is the standard error over documents.")
    elif seeds.max() >= EXPLORATORY_PAIRS:
        notes.append("± is the half width of the 95 % t interval over seeds.")
    if several or left:
        notes.append("Single layers and positions are in the files.")
    return notes
