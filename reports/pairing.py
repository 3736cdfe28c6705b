"""The table of pairing: what both sides of each pair provably shared, and how their losses go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison, Pairs, controls
from reports.groups import grouped
from reports.references import with_references
from reports.table import Cell, Table, columns_of, count_cell, number_cell
from reports.wording import counted, named


def pairing(study: StoredStudy, comparisons: Mapping[str, Comparison]) -> Table | None:
    """Return the proof of pairing: which pairs saw the same batches, which weights started equal; None without a pair.

    Where no pair has recorded its initial weights by name, they are compared as a whole.
    """
    every = list(comparisons.values())
    if not any(comparison.pairs.count for comparison in every):
        return None
    recorded = any(comparison.pairs.known_starts for comparison in every)
    starts = ["shared parameters", "of them equal at the start"] if recorded else ["same initial weights"]
    table = Table(
        name="pairing",
        caption="Pairs with the reference: what both sides provably shared, and how their losses correlate over seeds.",
        columns=columns_of(["arm", "pairs", "dropped", "same batches", *starts, "correlation"]),
        rows=tuple(
            (
                Cell(c.arm),
                count_cell(c.pairs.count),
                count_cell(len(c.pairs.dropped)),
                count_cell(c.pairs.same_batches),
                *(_start_cells(c.pairs) if recorded else [count_cell(c.pairs.same_initial)]),
                number_cell(c.correlation, 2),
            )
            for c in every
        ),
        notes=tuple(_notes(comparisons, recorded=recorded)),
        data=pd.DataFrame([_data(c) for c in every]),
    )
    return grouped(study, with_references(study, table))


def _start_cells(pairs: Pairs) -> list[Cell]:
    """Return what is shared in the pair that shares least, and what of it is equal in the pair where the least is."""
    if not pairs.known_starts:
        return [Cell(numbers.MISSING), Cell(numbers.MISSING)]
    shared = min(start.shared for start in pairs.known_starts)
    equal = min(start.equal for start in pairs.known_starts)
    return [Cell(f"{shared:,} of {pairs.known_starts[0].parameters:,}", key=shared), count_cell(equal)]


def _notes(comparisons: Mapping[str, Comparison], *, recorded: bool) -> Iterator[str]:
    if recorded:
        yield (
            "Shared are the arm's parameters that the reference has by the same name in the same shape; equal are "
            "those that start with the same bits. Where the pairs of an arm differ in this, the least is shown."
        )
    else:
        yield (
            "Initial weights are compared as a whole, so only arms of the same shapes can share them; arms of "
            "different shapes still start equal wherever name and shape agree."
        )
    pairs = sum(c.pairs.count - len(c.pairs.known_starts) for c in comparisons.values())
    if recorded and pairs:
        yield f"{counted(pairs, 'pair')} {'has' if pairs == 1 else 'have'} no record of initial weights on both sides."
    for control in controls(comparisons):
        if control.pairs.same_run:
            yield f"The A/A control {named(control.arm)} means the same runs as the reference."
        elif control.pairs.bit_equal:
            yield (
                f"The A/A control {named(control.arm)} is bit-equal to the reference in all "
                f"{counted(control.pairs.count, 'seed')}."
            )


def _data(comparison: Comparison) -> dict[str, Any]:
    pairs = comparison.pairs
    starts = pairs.known_starts
    return {
        "arm": comparison.arm,
        "pairs": pairs.count,
        "pairs_dropped": len(pairs.dropped),
        "pairs_with_same_batches": pairs.same_batches,
        "pairs_with_same_initial_weights": pairs.same_initial,
        "pairs_with_recorded_weights": len(starts),
        "pairs_with_equal_shared_weights": pairs.equal_starts,
        "parameters": starts[0].parameters if starts else None,
        "shared_parameters": min(start.shared for start in starts) if starts else None,
        "shared_parameters_equal": min(start.equal for start in starts) if starts else None,
        "correlation": comparison.correlation,
    }
