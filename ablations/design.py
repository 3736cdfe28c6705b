"""The design of a study: which settings its factors and arms make, in which order, under which names."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

from ablations.study import Study
from ablations.values import in_words
from deepsight.errors import UserError, suggestion
from deepsight.merging import merged

BASE_ARM = "base"
FULL_ARM = "full"


@dataclass(frozen=True)
class Cell:
    """One setting: its name, what it changes in the base, and where in the study it is written."""

    name: str
    changes: dict[str, Any]
    place: tuple[str, ...]


def cells(study: Study) -> list[Cell]:
    """Return every setting of a study: the factors' cells, then the arms, in the order written.

    Raises:
        UserError: two settings have one name, or there are none.

    """
    swept = DESIGNS[study.design](study)
    explicit = [Cell(name, merged({}, changes), ("arms", name)) for name, changes in study.arms.items()]
    found = [*swept, *explicit]
    names = [cell.name for cell in found]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"two arms are called {repeated!r}; rename one", ("arms",))
    if not found:
        raise UserError("a study needs factors or arms")
    return found


def reference_name(study: Study, found: list[Cell]) -> str:
    """Return the name of the reference arm.

    Raises:
        UserError: none is named, or no arm is called so.

    """
    names = [cell.name for cell in found]
    centre = FULL_ARM if study.design == "leave_one_out" else BASE_ARM
    if study.reference is None and centre in names:
        return centre
    if study.reference is None:
        raise UserError(f"the key 'reference' must name the arm to compare with; arms: {', '.join(names)}")
    if study.reference not in names:
        raise UserError(f"there is no arm {study.reference!r}{suggestion(study.reference, names)}", ("reference",))
    return study.reference


def _grid(study: Study) -> list[Cell]:
    if not study.factors:
        return []
    keys = list(study.factors)
    combinations = itertools.product(*study.factors.values())
    return [_cell(dict(zip(keys, values, strict=True)), study) for values in combinations]


def _one_at_a_time(study: Study) -> list[Cell]:
    varied = [_cell({key: value}, study) for key, values in study.factors.items() for value in values]
    return [Cell(BASE_ARM, {}, ("base",)), *varied]


def _leave_one_out(study: Study) -> list[Cell]:
    if not study.factors:
        raise UserError("leave_one_out needs factors: the first value of each is left out in turn", ("design",))
    full = {key: values[0] for key, values in study.factors.items()}
    without = []
    for key, values in study.factors.items():
        for value in values[1:]:
            cell = _cell({key: value}, study)
            without.append(Cell(cell.name, {**full, key: value}, cell.place))
    return [Cell(FULL_ARM, full, ("factors",)), *without]


DESIGNS = {"grid": _grid, "one_at_a_time": _one_at_a_time, "leave_one_out": _leave_one_out}


def _cell(settings: dict[str, Any], study: Study) -> Cell:
    short = _short_keys(list(study.factors))
    name = ", ".join(f"{short[key]}={_shown(value)}" for key, value in settings.items())
    place = ("factors",)
    return Cell(name, settings, place)


def _short_keys(keys: list[str]) -> dict[str, str]:
    """Return the last part of each key, or the whole key where two end alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}


def _shown(value: Any) -> str:
    return in_words(value, _compact)


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
