"""The published result tables, as data: every number of the original comparisons, each from one run with one seed."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from deepsight.errors import UserError, suggestion
from deepsight.validation import Strict

FILE = Path(__file__).with_name("published.csv")
DATASET, STEPS, TOKENIZER = "wikimedia/wikipedia", 9000, "gpt2"
"""What all published runs have in common, as far as it was said; the tokenizer follows from the parameter counts."""


@dataclass(frozen=True)
class PublishedRun:
    """One row of a published table; losses in nats per token, None where none was given.

    Attributes:
        name: as published.
        train_loss, validation_loss: of next-token prediction.
        auxiliary_loss: of the objective.
        parameters: without positions, the objective's own included.
        context, width, heads: of the network; `cross_heads` are None for a decoder-only one.
        layers: of the encoder and the decoder, or of the one stack.
        dropout: of the network.
        objective: by its name here; `none` for none.
        distance, horizon, coefficient: of the objective, None where it has none or none was named.

    """

    name: str
    train_loss: float
    validation_loss: float
    auxiliary_loss: float | None
    parameters: int
    context: int
    width: int
    layers: tuple[int, ...]
    heads: int
    cross_heads: int | None
    dropout: float
    objective: str
    distance: str | None
    horizon: int | None
    coefficient: float | None


@functools.cache
def published_tables() -> dict[str, dict[str, PublishedRun]]:
    """Return table → name of a run → the run, in published order."""
    tables: dict[str, dict[str, PublishedRun]] = {}
    with FILE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            tables.setdefault(row["table"], {})[row["run"]] = _run(row)
    return tables


def published_table(name: str) -> dict[str, PublishedRun]:
    """Return the runs of one table.

    Raises:
        UserError: there is none of that name.

    """
    if name not in published_tables():
        raise UserError(f"unknown published table {name!r}{suggestion(name, published_tables())}")
    return published_tables()[name]


def published_run(table: str, run: str) -> PublishedRun:
    """Return a run by its name in a table, or as ``TABLE/RUN`` in another.

    Raises:
        UserError: there is no such table or run.

    """
    other, _, name = run.rpartition("/")
    known = published_table(other or table)
    if name not in known:
        raise UserError(f"the published table {other or table!r} has no run {name!r}{suggestion(name, known)}")
    return known[name]


class Published(Strict):
    """Which published numbers a study repeats.

    Attributes:
        table: one of `published_tables`.
        runs: name of an arm → the run that it repeats, by its name in that table, or as `TABLE/RUN` in another.

    """

    table: str
    runs: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_there(self) -> Published:
        try:
            published_table(self.table)
        except UserError as error:
            raise error.within("table") from None
        for arm, run in self.runs.items():
            try:
                published_run(self.table, run)
            except UserError as error:
                raise error.within("runs", arm) from None
        return self


def _run(row: dict[str, str]) -> PublishedRun:
    return PublishedRun(
        name=row["run"],
        train_loss=float(row["train_loss"]),
        validation_loss=float(row["val_loss"]),
        auxiliary_loss=float(row["auxiliary_loss"]) if row["auxiliary_loss"] else None,
        parameters=int(row["parameters"]),
        context=int(row["context"]),
        width=int(row["width"]),
        layers=tuple(int(part) for part in row["layers"].split("+")),
        heads=int(row["heads"]),
        cross_heads=int(row["cross_heads"]) if row["cross_heads"] else None,
        dropout=float(row["dropout"]),
        objective=row["objective"],
        distance=row["distance"] or None,
        horizon=int(row["n"]) if row["n"] else None,
        coefficient=float(row["coefficient"]) if row["coefficient"] else None,
    )
