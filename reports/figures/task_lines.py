"""Which arms of a study with a planning task form lines along one factor, and which lines stand in one panel.

A colour is a group of the study; where all arms come from one design, it is the value of the first other factor. What
further factors there are has a panel for each combination. A line without one of these factors, such as next-token
prediction, which has no horizon, stands in every panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ablations.stored import StoredArm, StoredStudy
from reports.figures.sweeps import categories, is_number, short
from reports.frames import identity

UNGROUPED = "ungrouped"
"""The name of the arms of the study's own design beside those of its groups."""


@dataclass(frozen=True)
class Line:
    """Arms along one factor: (value, arm), numbers ascending, other values in the order written."""

    name: str
    points: tuple[tuple[Any, str], ...]


@dataclass(frozen=True)
class LinePanel:
    """Lines that agree in the factors that are neither swept nor a colour."""

    settings: dict[str, Any]
    lines: tuple[Line, ...]


def swept_keys(study: StoredStudy) -> list[str]:
    """Return the factors along which a study has lines."""
    return [key for key in study.factors if line_panels(study, key)]


def all_numbers(study: StoredStudy, key: str) -> bool:
    """Return whether every value of a factor is a number."""
    return all(map(is_number, study.factors[key]))


def ordered_values(study: StoredStudy, key: str) -> list[Any]:
    """Return the values of a factor: numbers ascending, others as written, layers by depth."""
    values = categories(study, key)
    return sorted(values) if all_numbers(study, key) else values


def line_panels(study: StoredStudy, key: str) -> list[LinePanel]:
    """Return the panels of lines along a factor that have two values or more; none along what is no factor."""
    if key not in study.factors:
        return []
    places = {identity(value): place for place, value in enumerate(ordered_values(study, key))}
    arms = [arm for arm in study.arms if key in arm.settings and identity(arm.settings[key]) in places]
    arms = [arm for arm in arms if not arm.control]
    single = len({arm.group for arm in arms}) == 1
    coloured = _coloured(study, key, arms) if single else None
    together: dict[str, list[StoredArm]] = {}
    for arm in arms:
        others = {name: value for name, value in arm.settings.items() if name != key}
        together.setdefault(identity([arm.group, others]), []).append(arm)
    lines: list[tuple[dict[str, Any], Line]] = []
    for members in together.values():
        members.sort(key=lambda arm: places[identity(arm.settings[key])])
        line = Line(_name(members[0], coloured, single), tuple((arm.settings[key], arm.name) for arm in members))
        if len(members) > 1:
            lines.append((_factors(study, members[0], but=(key, coloured)), line))
    return [
        LinePanel(panel, tuple(line for settings, line in lines if _within(settings, panel)))
        for panel in _largest([settings for settings, _ in lines])
    ]


def _coloured(study: StoredStudy, key: str, arms: list[StoredArm]) -> str | None:
    """Return the first other factor that takes several values, which are told apart by colour; None without one."""
    others = (name for name in study.factors if name != key)
    return next((name for name in others if len({identity(arm.settings.get(name)) for arm in arms}) > 1), None)


def _name(arm: StoredArm, coloured: str | None, single: bool) -> str:
    """Return what tells a line from those of other colours; "" for the only one of a study without groups."""
    if coloured is None:
        return arm.group or ("" if single else UNGROUPED)
    return short({coloured: arm.settings.get(coloured)})


def _factors(study: StoredStudy, arm: StoredArm, but: tuple[str | None, ...]) -> dict[str, Any]:
    """Return an arm's values of a study's factors, without those of some."""
    return {name: arm.settings[name] for name in study.factors if name in arm.settings and name not in but}


def _largest(every: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings, each once, that are no part of others."""
    distinct = list({identity(settings): settings for settings in every}.values())
    return [one for one in distinct if not any(_within(one, other) for other in distinct if other is not one)]


def _within(settings: dict[str, Any], panel: dict[str, Any]) -> bool:
    """Return whether a panel has all these settings."""
    return all(name in panel and identity(value) == identity(panel[name]) for name, value in settings.items())
