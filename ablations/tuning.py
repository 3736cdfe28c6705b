"""Tuned values: every arm is given the same grid on the same seeds, and takes the point with the lowest loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ablations.design import Cell
from ablations.study import Study
from deepsight.errors import UserError
from deepsight.merging import merged

Outcome = float | Literal["pending", "failed"]
"""What became of a trial: its validation loss at the end, or that it has not ended, or that it cannot have one."""

MOST_CANDIDATES = 1_000


def grid(tune: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of tuned values, dotted key → value, the last key's varying first; none without keys.

    Raises:
        UserError: there are too many.

    """
    count = math.prod(len(values) for values in tune.values()) if tune else 0
    if count > MOST_CANDIDATES:
        raise UserError(f"the grid has {count:,} points; the most are {MOST_CANDIDATES:,}", ("tune",))
    return [dict(zip(tune, values, strict=True)) for values in itertools.product(*tune.values())] if tune else []


def choose(outcomes: Sequence[Sequence[Outcome]]) -> int | Literal["pending"] | None:
    """Return the candidate with the lowest mean loss, of equal ones the first.

    Args:
        outcomes: of each candidate's trials. A candidate with a trial that failed is taken by none.

    Returns:
        Its position; "pending" where a trial of any candidate has not ended; None where every candidate failed.

    """
    if any(outcome == "pending" for trials in outcomes for outcome in trials):
        return "pending"
    means = [_mean(trials) for trials in outcomes]
    best = min(range(len(means)), key=means.__getitem__)
    return best if math.isfinite(means[best]) else None


def edge_notes(tune: Mapping[str, Sequence[Any]], chosen: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each chosen number that stands at the edge of its values."""
    notes = []
    for key, values in tune.items():
        if len(values) < 2 or not all(_is_number(value) for value in values):
            continue
        for edge, name in ((min(values), "smallest"), (max(values), "largest")):
            if chosen[key] == edge:
                notes.append(f"{key} {chosen[key]} is the {name} value of the grid; a wider one may do better")
    return notes


def check_untouched(study: Study, cells: Sequence[Cell]) -> None:
    """Refuse a cell that sets what is tuned: one arm would be given fewer values than another.

    Raises:
        UserError: naming where it is set.

    """
    for cell in cells:
        for changes, place in ((merged({}, cell.changes), cell.place), (cell.beneath, cell.base_place)):
            key = next((key for key in study.tune if _sets(changes, key.split("."))), None)
            if key is not None:
                raise UserError(f"{key} is tuned in every arm: leave it out here", place)


def _sets(changes: Any, path: Sequence[str]) -> bool:
    """Say whether changes hold what stands at a path; a list of one also stands for its item."""
    if not path:
        return True
    head, *rest = path
    if isinstance(changes, list):
        if head.isdecimal():
            return int(head) < len(changes) and _sets(changes[int(head)], rest)
        return len(changes) == 1 and _sets(changes[0], path)
    return isinstance(changes, Mapping) and head in changes and _sets(changes[head], rest)


def _mean(losses: Sequence[Outcome]) -> float:
    found = [math.inf if isinstance(loss, str) or not math.isfinite(loss) else loss for loss in losses]
    return math.fsum(found) / len(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
