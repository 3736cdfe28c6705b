"""Which arms form a sweep: those that differ in one key and agree in every other.

Numbers are swept as the resolved configuration has them, names as the study's factors were written: a whole objective
brings parameters of its own, which would keep resolved configurations apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from ablations.values import depth
from reports.figures.style import LEGEND_LABEL_WIDTH, distinct_labels
from reports.frames import configuration, identity
from reports.wording import setting_text

HORIZON = re.compile(r"(objectives?\.(\d+\.)?)?n")
LAYERS = re.compile(r"(model\.)?layers")
CATEGORIES = re.compile(r"objective|objective\.(\d+\.)?attach")
"""Factors whose values are names: which objective, and where it attaches."""
LABEL_LENGTH = 2 * LEGEND_LABEL_WIDTH - 16
"""Characters of two lines, less what a word that does not fit into the first leaves empty."""


@dataclass(frozen=True)
class Sweep:
    """Arms along one key.

    Attributes:
        settings: the values of the other keys that vary in the study, by key.
        points: (value of the key, arm), in ascending order of the values; names in the order written.

    """

    settings: dict[str, Any]
    points: tuple[tuple[Any, str], ...]


def find_key(study: StoredStudy, trials: pd.DataFrame, pattern: re.Pattern[str]) -> str | None:
    """Return the configuration key that differs between arms and matches `pattern` as a whole."""
    keys = configuration(study, trials).columns
    return next((str(key) for key in keys if pattern.fullmatch(str(key))), None)


def sweeps(
    study: StoredStudy, trials: pd.DataFrame, key: str, usable: Callable[[Any], bool] = lambda _: True
) -> list[Sweep]:
    """Return the sweeps over `key` with two or more values each; values that are not `usable` are left out."""
    table = configuration(study, trials)
    others = [str(column) for column in table.columns if column != key]
    groups: dict[str, dict[str, tuple[Any, str]]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for arm in table.index:
        value = table.at[arm, key]
        if not usable(value):
            continue
        other = {column: table.at[arm, column] for column in others}
        groups.setdefault(identity(other), {}).setdefault(identity(value), (value, str(arm)))
        settings[identity(other)] = other
    found = {name: points for name, points in groups.items() if len(points) > 1}
    varying = [column for column in others if len({identity(settings[name][column]) for name in found}) > 1]
    return [
        Sweep(
            settings={column: settings[name][column] for column in varying},
            points=tuple(sorted(points.values(), key=lambda point: point[0])),
        )
        for name, points in found.items()
    ]


def category_keys(study: StoredStudy) -> list[str]:
    """Return the factors of a study whose values are names."""
    return [key for key in study.factors if CATEGORIES.fullmatch(key)]


def categories(study: StoredStudy, key: str) -> list[Any]:
    """Return the values of a factor in the order written; layers take their places in order of depth."""
    values = list({identity(value): value for value in study.factors[key]}.values())
    layers = iter(sorted((value for value in values if depth(value) is not None), key=lambda value: depth(value) or 0))
    return [value if depth(value) is None else next(layers) for value in values]


def category_sweeps(study: StoredStudy, key: str) -> list[Sweep]:
    """Return the sweeps over a factor of names with two or more values each."""
    places = {
        name: {identity(value): place for place, value in enumerate(categories(study, name))}
        for name in category_keys(study)
    }

    def in_order(arm: StoredArm) -> list[int]:
        return [places[name].get(identity(arm.settings.get(name)), -1) for name in places]

    groups: dict[str, list[tuple[Any, str]]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for arm in sorted(study.arms, key=in_order):
        if identity(arm.settings.get(key)) not in places[key]:
            continue
        other = {name: value for name, value in arm.settings.items() if name != key}
        groups.setdefault(identity(other), []).append((arm.settings[key], arm.name))
        settings[identity(other)] = other
    return [Sweep(settings[name], tuple(points)) for name, points in groups.items() if len(points) > 1]


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a configuration value is a finite number, which has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def sweep_labels(found: Sequence[Sweep]) -> list[str]:
    """Return the names of sweeps as they fit into two lines of a legend, told apart where they are cut."""
    return distinct_labels([short(sweep.settings) for sweep in found], LABEL_LENGTH)


def key_title(key: str) -> str:
    """Return a configuration key in words, as the axis of a figure names it."""
    if HORIZON.fullmatch(key):
        return "horizon n"
    return key.removeprefix("data.task.").removeprefix("objective.").replace("_", " ")


def short(settings: dict[str, Any]) -> str:
    """Return settings in a few words: the last part of each key and its value."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {setting_text(value)}" for key, value in settings.items())
