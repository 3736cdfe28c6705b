"""Which cells of a study run: those that fulfil the constraints of their design."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablations.constraints import Constraint, check_keys, constraints_of, refused
from ablations.design import Cell
from ablations.resolving import Resolved, Resolver
from ablations.stored import SkippedCell
from ablations.study import Study, place_of_design
from deepsight.errors import UserError

Selected = list[tuple[Cell, Resolved]]


def selected(study: Study, found: list[Cell], resolver: Resolver) -> tuple[Selected, list[SkippedCell]]:
    """Return the runs of the cells that stay in, and the cells that are left out with the reason.

    Raises:
        UserError: a run that stays in cannot be, a constraint cannot be read or decided, or the reference is left out.

    """
    constraints = {group: _constraints(study, group) for group in study.designs}
    seen: dict[str | None, list[Mapping[str, Any]]] = {group: [] for group in study.designs}
    runs: dict[str, Resolved] = {}
    reasons: dict[str, str] = {}
    # The reference goes first: others may be matched to it.
    for cell in sorted(found, key=lambda cell: cell != resolver.reference):
        own = constraints[cell.group] if cell.swept else []
        run, reason = _judged(cell, own, resolver, seen[cell.group])
        if run is not None:
            runs[cell.name] = run
        else:
            reasons[cell.name] = reason
    for group, configurations in seen.items():
        try:
            check_keys(constraints[group], configurations)
        except UserError as error:
            raise error.within(*place_of_design(group)) from None
    reference = resolver.reference
    if reference.name in reasons:
        place = (*place_of_design(reference.group), "where")
        raise UserError(f"the reference {reference.name!r} is left out: {reasons[reference.name]}", place)
    skipped = [SkippedCell(name=cell.name, reason=reasons[cell.name]) for cell in found if cell.name in reasons]
    return [(cell, runs[cell.name]) for cell in found if cell.name in runs], skipped


def _constraints(study: Study, group: str | None) -> list[Constraint]:
    try:
        return constraints_of(study.designs[group].where)
    except UserError as error:
        raise error.within(*place_of_design(group)) from None


def _judged(
    cell: Cell, constraints: list[Constraint], resolver: Resolver, seen: list[Mapping[str, Any]]
) -> tuple[Resolved | None, str]:
    """Return a cell's run, or why it is left out.

    A constraint may leave out what would be no run at all, so a cell's own error counts only where it stays in.
    """
    run, failure = None, None
    try:
        run = resolver.resolve(cell)
        seen.append(run.config.complete())
    except UserError as error:
        if not constraints:
            raise
        failure = error
        seen.append(cell.on(resolver.base))
    try:
        reason = refused(constraints, seen[-1])
    except UserError as error:
        raise error.within(*place_of_design(cell.group)) from None
    if reason is not None:
        return None, reason
    if failure is not None:
        raise failure
    return run, ""
