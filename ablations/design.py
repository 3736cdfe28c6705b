"""The design of a study: which settings its factors and arms make, in which order, under which names."""

from __future__ import annotations

import difflib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ablations.study import Designed, Group, Study, place_of_design
from ablations.values import in_words
from ablations.written import check_name
from deepsight.errors import UserError, suggestion
from deepsight.merging import Data, merged, with_dotted_keys

BASE_ARM = "base"
FULL_ARM = "full"
CONTROL_ARM = "A/A control"
MOST_NAMED = 40
MATCH = "model.match."
MOST_CELLS = 10_000

Place = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One setting of a study.

    Attributes:
        name: unique in the study.
        changes: what it changes in its base.
        place: where in the study it is written.
        swept: whether it comes from factors, so that constraints may leave it out.
        group: the one it belongs to, if any.
        beneath: what its group changes in the study's base.

    """

    name: str
    changes: dict[str, Any]
    place: Place
    swept: bool = True
    group: str | None = None
    beneath: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Data:
        """What it changes in the study's base, by dotted key, as written."""
        flat = {**with_dotted_keys(self.beneath), **with_dotted_keys(self.changes)}
        parts = {key: flat.pop(key) for key in list(flat) if key.startswith(MATCH)}
        whole = {MATCH[:-1]: {key.removeprefix(MATCH): value for key, value in parts.items()}} if parts else {}
        return {**flat, **whole}

    def on(self, base: Mapping[str, Any]) -> Data:
        """Return a base with the group's changes and then the cell's own laid over it."""
        return merged(merged(base, self.beneath), self.changes)

    @property
    def base_place(self) -> Place:
        """Where in the study its base is written: the group's, or the study's own."""
        return (*place_of_design(self.group), "base")

    def place_of(self, path: Sequence[str | int]) -> Place | None:
        """Return where the study says what stands at a path of this cell's run; None where the base says it."""
        if _says(self.changes, path):
            return self.place
        return self.base_place if _says(self.beneath, path) else None


def cells(study: Study) -> list[Cell]:
    """Return every setting of a study in the order written: its factors' cells, its arms, and those of each group.

    Raises:
        UserError: two settings have one name, a name cannot be printed, or there are none or too many.

    """
    found = [cell for group, design in study.designs.items() for cell in _cells_of(design, group)]
    if not found:
        raise UserError("a study needs factors, arms or groups")
    if len(found) > MOST_CELLS:
        raise UserError(f"a study of {len(found):,} arms is too large; the most are {MOST_CELLS:,}")
    found = _told_apart(found)
    if study.control and any(cell.name == CONTROL_ARM for cell in found):
        raise UserError(f"an arm is called {CONTROL_ARM!r}, as the control would be; rename it", ("control",))
    for cell in found:
        try:
            check_name(cell.name, "an arm's name")
        except UserError as error:
            raise error.within(*cell.place) from None
    return found


def reference_name(study: Study, found: list[Cell]) -> str:
    """Return the name of the reference arm.

    Raises:
        UserError: none is named, or no arm is called so.

    """
    names = [cell.name for cell in found]
    centre = FULL_ARM if study.design == "leave_one_out" else BASE_ARM
    if study.reference is None and centre in (cell.name for cell in found if cell.group is None):
        return centre
    if study.reference is None:
        shown = ", ".join([*names[:MOST_NAMED], *(["…"] if len(names) > MOST_NAMED else [])])
        raise UserError(f"the key 'reference' must name the arm to compare with; arms: {shown}")
    if study.reference not in names:
        near = difflib.get_close_matches(study.reference, names, n=3, cutoff=0.0)
        few = suggestion(study.reference, names)
        hint = few if len(names) <= MOST_NAMED else f"; of {len(names)} the nearest are {', '.join(near)}"
        raise UserError(f"there is no arm {study.reference!r}{hint}", ("reference",))
    return study.reference


def factors_of(study: Study) -> dict[str, list[Any]]:
    """Return the factors of all designs of a study, each with all its values in the order written."""
    union: dict[str, list[Any]] = {}
    for design in study.designs.values():
        for key, values in design.factors.items():
            known = union.setdefault(key, [])
            known += [value for value in values if json.dumps(value) not in map(json.dumps, known)]
    return union


def _cells_of(design: Designed, group: str | None) -> list[Cell]:
    place = place_of_design(group)
    try:
        swept = DESIGNS[design.design](design)
        found = [*swept, *(_explicit(name, changes) for name, changes in design.arms.items())]
        repeated = _repeated(found)
        if repeated is not None:
            raise UserError(f"two arms are called {repeated.name!r}; rename one", ("arms",))
        if group is not None and not found:
            raise UserError("a group needs factors or arms")
    except UserError as error:
        raise error.within(*place) from None
    beneath = _merged(design.base, *place, "base") if isinstance(design, Group) else {}
    return [replace(cell, group=group, place=(*place, *cell.place), beneath=beneath) for cell in found]


def _explicit(name: str, changes: Mapping[str, Any]) -> Cell:
    return Cell(name, _merged(changes, "arms", name), ("arms", name), swept=False)


def _merged(changes: Mapping[str, Any], *place: str) -> Data:
    try:
        return merged({}, changes)
    except UserError as error:
        raise error.within(*place) from None


def _told_apart(found: list[Cell]) -> list[Cell]:
    """Return the cells with the group's name before each name that stands more than once in the study."""
    count = Counter(cell.name for cell in found)
    apart = [
        cell if cell.group is None or count[cell.name] == 1 else replace(cell, name=f"{cell.group}: {cell.name}")
        for cell in found
    ]
    repeated = _repeated(apart)
    if repeated is not None:
        raise UserError(
            f"two arms are called {repeated.name!r}; rename one", (*place_of_design(repeated.group), "arms")
        )
    return apart


def _repeated(found: list[Cell]) -> Cell | None:
    """Return the first cell whose name an earlier one has."""
    seen: set[str] = set()
    for cell in found:
        if cell.name in seen:
            return cell
        seen.add(cell.name)
    return None


def _grid(design: Designed) -> list[Cell]:
    if not design.factors:
        return []
    count = math.prod(len(values) for values in design.factors.values())
    if count > MOST_CELLS:
        raise UserError(f"the factors make {count:,} cells; the most are {MOST_CELLS:,}", ("factors",))
    keys = list(design.factors)
    combinations = itertools.product(*design.factors.values())
    return [_cell(dict(zip(keys, values, strict=True)), design) for values in combinations]


def _one_at_a_time(design: Designed) -> list[Cell]:
    varied = [_cell({key: value}, design) for key, values in design.factors.items() for value in values]
    return [Cell(BASE_ARM, {}, ("base",)), *varied]


def _leave_one_out(design: Designed) -> list[Cell]:
    if not design.factors:
        raise UserError("leave_one_out needs factors: the first value of each is left out in turn", ("design",))
    full = {key: values[0] for key, values in design.factors.items()}
    without = []
    for key, values in design.factors.items():
        for value in values[1:]:
            cell = _cell({key: value}, design)
            without.append(Cell(cell.name, {**full, key: value}, cell.place))
    return [Cell(FULL_ARM, full, ("factors",)), *without]


DESIGNS: dict[str, Callable[[Designed], list[Cell]]] = {
    "grid": _grid,
    "one_at_a_time": _one_at_a_time,
    "leave_one_out": _leave_one_out,
}


def _cell(settings: dict[str, Any], design: Designed) -> Cell:
    short = _short_keys(list(design.factors))
    name = ", ".join(f"{short[key]}={_shown(value)}" for key, value in settings.items())
    return Cell(name, settings, ("factors",))


def _short_keys(keys: list[str]) -> dict[str, str]:
    """Return the last part of each key, or the whole key where two end alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}


def _says(changes: Mapping[str, Any], path: Sequence[str | int]) -> bool:
    """Say whether changes set what stands at a path, or a part of it; positions in lists do not count."""
    wanted = [str(part) for part in path if isinstance(part, str)]
    written = ([part for part in key.split(".") if not part.isdecimal()] for key in with_dotted_keys(changes))
    return any(all(one == other for one, other in zip(key, wanted, strict=False)) for key in written)


def _shown(value: Any) -> str:
    return in_words(value, _compact)


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
