"""How the bases of two studies differ, and what else they do not have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ablations.frames import flat_config
from reports.beside.sides import Side, shared_arms
from reports.frames import identity
from reports.table import Cell, Table, columns_of
from reports.wording import listed, named, setting_text

STUDY, BASE = "study", "base"
MOST_NAMES = 3
OF_ARMS = (
    "Of an arm stands here what differs in another way than the bases do: other settings, other tuned values, or "
    "another size that was solved for."
)


def study_differences(a: Side, b: Side) -> Table | None:
    """Return what the studies, their bases and their arms of one name do not have in common; None if nothing."""
    of_arms = list(_between_arms(a, b))
    rows = [*_between_studies(a, b), *_between_bases(a, b), *of_arms]
    if not rows:
        return None
    return Table(
        name="study_differences",
        caption="What differs between the two studies, their bases, and their arms of one name.",
        columns=columns_of(["of", "key", a.letter, b.letter], numeric_from=4),
        rows=tuple((Cell(of), Cell(key), Cell(setting_text(left)), Cell(setting_text(right)))
                   for of, key, left, right in rows),
        notes=(OF_ARMS,) if of_arms else (),
        data=pd.DataFrame(rows, columns=["of", "key", "a", "b"]),
    )  # fmt: skip


def _between_studies(a: Side, b: Side) -> Iterator[tuple[str, str, Any, Any]]:
    for key in ("reference", "seeds", "equivalence_margin"):
        left, right = getattr(a.study, key), getattr(b.study, key)
        if left != right:
            yield STUDY, key, left, right


def _between_bases(a: Side, b: Side) -> Iterator[tuple[str, str, Any, Any]]:
    if a.preset != b.preset:
        yield BASE, "preset", a.preset, b.preset
    for key, (left, right) in _different(flat_config(a.study.base), flat_config(b.study.base)).items():
        yield BASE, key, left, right


def _between_arms(a: Side, b: Side) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield what differs between arms of one name beyond their bases; arms that differ in one way share a row."""
    bases = _different(flat_config(a.study.base), flat_config(b.study.base))
    found: dict[str, tuple[str, Any, Any, list[str]]] = {}
    for name in shared_arms(a, b):
        for key, values in _different(a.config(name), b.config(name)).items():
            if identity(values) != identity(bases.get(key)):
                row = found.setdefault(identity([key, *values]), (key, *values, []))
                row[-1].append(named(name))
    for key, left, right, names in found.values():
        yield listed(names, MOST_NAMES), key, left, right


def _different(left: dict[str, Any], right: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys([*left, *right])
    return {key: (left.get(key), right.get(key)) for key in keys if identity(left.get(key)) != identity(right.get(key))}
