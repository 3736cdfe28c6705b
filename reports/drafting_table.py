"""What the probe of drafts found, in short: tokens a pass, guesses accepted, and whether the text stays."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports import numbers
from reports.table import Cell, Table, columns_of, number_cell

MOST_GUESSES = 4
NAMES = {1: "1st", 2: "2nd", 3: "3rd"}
NOTES = (
    "One token a pass is decoding without drafts; of guesses, the share that the network chose too.",
    "Distinct is the share of different tokens in a continuation: a text that repeats itself is drafted with ease.",
)
FAULT = "A continuation is not that of plain decoding: this is a fault of the drafts or of the cache, not of rounding."


def drafting_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return one row for each arm and objective that drafts, means over seeds."""
    rows, guesses = tables["drafting"], tables["guesses"]
    shown = sorted(set(guesses["guess"]))[:MOST_GUESSES] if len(guesses) else []
    several = rows["arm"].nunique() > 1
    found = []
    for (arm, objective), own in rows.groupby(["arm", "objective"], sort=False):
        accepted = _acceptance(guesses, str(arm), str(objective))
        found.append(
            (
                *((Cell(str(arm)),) if several else ()),
                Cell(str(objective)),
                number_cell(float(own["tokens_per_pass"].mean()), 2),
                number_cell(float(own["accepted_per_pass"].mean()), 2),
                *(_share(accepted.get(guess)) for guess in shown),
                number_cell(float(own["distinct"].mean()), 2),
                _identical(float(own["identical"].min()), int(own["ties"].sum())),
            )
        )
    words = ("arm", "objective") if several else ("objective",)
    titles = [*words, "tokens a pass", "accepted a pass", *(f"{NAMES.get(at, f'{at}th')} guess" for at in shown)]
    at_fault = bool((rows["identical"] < 1).any())
    return Table(
        name="drafting",
        caption="Tokens that objectives draft for their network, in speculative decoding at temperature 0.",
        columns=columns_of([*titles, "distinct", "identical"], numeric_from=len(words)),
        rows=tuple(found),
        notes=(*NOTES, *((FAULT,) if at_fault else ())),
        data=rows,
    )


def _acceptance(guesses: pd.DataFrame, arm: str, objective: str) -> dict[int, float]:
    if guesses.empty:
        return {}
    own = guesses[(guesses["arm"] == arm) & (guesses["objective"] == objective)]
    return {int(str(guess)): float(value) for guess, value in own.groupby("guess")["acceptance"].mean().items()}


def _share(value: float | None) -> Cell:
    return Cell(numbers.MISSING) if value is None else number_cell(value, 3)


def _identical(least: float, ties: int) -> Cell:
    """Return the smallest share of any run; strong where it is a fault."""
    beside = f" ({ties} at a tie)" if ties else ""
    return Cell(f"{numbers.fixed(least, 3)}{beside}", key=least, strong=least < 1)
