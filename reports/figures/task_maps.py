"""Which arms of a study with a planning task form a heat map: those along two numbers, or along one and their group.

Where one axis is the distance over which the task is determined and the other says how far the objective looks, the
cells in which both are equal are told from the others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablations.stored import StoredArm, StoredStudy
from reports.effects import blocks_of
from reports.figures.sweeps import is_number, short
from reports.figures.task_lines import UNGROUPED
from reports.frames import identity

DELAY = re.compile(r"data\.task\.(delay|horizon)")
"""Factors that are the tokens over which a task is determined."""
HORIZON_KEY = re.compile(r"objective\.(\d+\.)?(n|tau)")
HORIZONS = ("n", "tau")
"""Parameters of objectives that say how far they look."""
TRAINED = ("learned_kernel", "learned_horizon", "depthwise_convolution", "attention_pooling")
"""Aggregators that find out how far to look: their n is a limit."""
GROUP = "group"


@dataclass(frozen=True)
class Plane:
    """The cells of one panel.

    Attributes:
        title: what its arms have in common, "" where it is all that they could.
        rows, columns: names from top to bottom, and from left to right.
        row_key: whose values the rows are; None where they are names of groups.
        cells: (row, column) → arm.
        equal: the cells in which the objective looks as far as the task is determined.

    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_key: str | None
    cells: Mapping[tuple[int, int], str]
    equal: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class TaskMap:
    """A heat map of one or more planes: the keys along its axes; that of the rows may be `GROUP`."""

    rows: str
    columns: str
    planes: tuple[Plane, ...]

    @property
    def has_equal(self) -> bool:
        """Whether any cell is told from the others."""
        return any(plane.equal for plane in self.planes)


def task_maps(study: StoredStudy) -> list[TaskMap]:
    """Return the heat maps of a study: one a pair of numbers, and one over groups for each number that has no pair."""
    keys = [key for key, values in study.factors.items() if len(values) > 1 and all(map(is_number, values))]
    # What the task is stands below, so that arms without the other number have rows of their own.
    pairs = [sorted(pair, key=lambda key: key.startswith("data.")) for pair in itertools.combinations(keys, 2)]
    maps = [TaskMap(rows, columns, planes) for rows, columns in pairs if (planes := _planes(study, rows, columns))]
    paired = {key for one in maps for key in (one.rows, one.columns)}
    grouped = [TaskMap(GROUP, key, planes) for key in keys if key not in paired and (planes := _by_group(study, key))]
    return maps + grouped


def _planes(study: StoredStudy, rows: str, columns: str) -> tuple[Plane, ...]:
    blocks = [block for block in _blocks(study, rows, columns) if _spread(block, rows) and _spread(block, columns)]
    if not blocks:
        return ()
    without = [block for block in _blocks(study, columns) if rows not in block[0].settings and _spread(block, columns)]
    row_values = sorted({arm.settings[rows] for block in blocks for arm in block}, reverse=True)
    column_values = _column_values([*blocks, *without], columns)
    told = bool(DELAY.fullmatch(columns) and HORIZON_KEY.fullmatch(rows))
    planes = []
    for block in blocks:
        places = [(row_values.index(arm.settings[rows]), arm) for arm in block]
        title = _title(study, block[0], (rows, columns), with_group=True)
        planes.append(_plane(title, [f"{value:g}" for value in row_values], column_values, places, columns, told, rows))
    if without:
        names = [_title(study, block[0], (columns,), with_group=True) or UNGROUPED for block in without]
        places = [(row, arm) for row, block in enumerate(without) for arm in block]
        planes.append(_plane("", names, column_values, places, columns, told=False))
    return tuple(planes)


def _by_group(study: StoredStudy, columns: str) -> tuple[Plane, ...]:
    """Return the planes whose rows are groups, one a combination of the other factors."""
    together: dict[str, list[list[StoredArm]]] = {}
    for block in _blocks(study, columns):
        if _spread(block, columns):
            together.setdefault(_title(study, block[0], (columns,), with_group=False), []).append(block)
    planes = []
    for title, blocks in together.items():
        names = list(dict.fromkeys(block[0].group or UNGROUPED for block in blocks))
        places = [(names.index(arm.group or UNGROUPED), arm) for block in blocks for arm in block]
        horizons = {horizon for _, arm in places if (horizon := horizon_of(arm)) is not None}
        told = bool(DELAY.fullmatch(columns)) and len(horizons) > 1
        if len(names) > 1:
            planes.append(_plane(title, names, _column_values(blocks, columns), places, columns, told))
    return tuple(planes)


def _plane(
    title: str,
    rows: Sequence[str],
    columns: Sequence[float],
    places: Sequence[tuple[int, StoredArm]],
    key: str,
    told: bool,
    row_key: str | None = None,
) -> Plane:
    """Return a plane of arms with their rows; `told` where the horizons that equal the column count."""
    cells = {(row, columns.index(arm.settings[key])): arm for row, arm in places}
    return Plane(
        title=title,
        rows=tuple(rows),
        columns=tuple(f"{value:g}" for value in columns),
        row_key=row_key,
        cells={place: arm.name for place, arm in cells.items()},
        equal=frozenset(place for place, arm in cells.items() if told and horizon_of(arm) == arm.settings[key]),
    )


def horizon_of(arm: StoredArm) -> float | None:
    """Return how many tokens ahead an arm's only objective looks; None where it has none, or finds that out itself."""
    found: dict[str, Any] = {}
    for key, value in arm.settings.items():
        if key == "objective" and isinstance(value, Mapping):
            found |= value
        elif key.startswith("objective."):
            found[key.rpartition(".")[2]] = value
    specs = arm.config.get("objective") or [found]
    aggregator = specs[0].get("aggregator")
    name = aggregator.get("name") if isinstance(aggregator, Mapping) else aggregator
    if len(specs) > 1 or name in TRAINED:
        return None
    return next((float(specs[0][key]) for key in HORIZONS if is_number(specs[0].get(key))), None)


def _blocks(study: StoredStudy, *factors: str) -> list[list[StoredArm]]:
    """Return the arms that agree in all but some factors, without the A/A control."""
    blocks = ([arm for arm in block.values() if not arm.control] for block in blocks_of(study, factors))
    return [block for block in blocks if block]


def _spread(block: Sequence[StoredArm], key: str) -> bool:
    """Return whether arms have two values of a factor or more, all of them numbers."""
    return len({identity(arm.settings[key]) for arm in block}) > 1 and all(
        is_number(arm.settings[key]) for arm in block
    )


def _column_values(blocks: Sequence[Sequence[StoredArm]], key: str) -> list[float]:
    return sorted({arm.settings[key] for block in blocks for arm in block})


def _title(study: StoredStudy, arm: StoredArm, but: tuple[str, ...], *, with_group: bool) -> str:
    """Return an arm's group and its values of a study's factors, without those of some."""
    others = {name: arm.settings[name] for name in study.factors if name in arm.settings and name not in but}
    parts = [arm.group or "" if with_group else "", short(others)]
    return ", ".join(part for part in parts if part)
