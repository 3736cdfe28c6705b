"""Whom each arm is compared with: the study's reference, or one of the arm's own task where a study has several tasks.

Losses and accuracies of different tasks cannot be compared. An arm that learned another task than the study's reference
is compared with the first arm of its own task that has no objective, and so learned by next-token prediction alone;
where there is none, it is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ablations.stored import StoredArm, StoredStudy
from reports import numbers
from reports.frames import identity
from reports.groups import inserted
from reports.table import Table
from reports.wording import counted, is_or_are, listed, named

COMPARED_WITH = "compared with"
OF_ITS_TASK = "the reference of its task"


def arms_by_task(study: StoredStudy) -> list[list[StoredArm]]:
    """Return the arms that learned the same task, together; all of them where a study learns from text."""
    found: dict[str, list[StoredArm]] = {}
    for arm in study.arms:
        found.setdefault(identity(arm.config.get("data", {}).get("task")), []).append(arm)
    return list(found.values())


def compared_with(study: StoredStudy) -> dict[str, str]:
    """Return arm → its reference, in the study's order; without the references, and without arms that have none."""
    found = {
        arm.name: reference
        for arms in arms_by_task(study)
        if (reference := _reference(study, arms)) is not None
        for arm in arms
    }
    return {arm.name: found[arm.name] for arm in study.arms if found.get(arm.name, arm.name) != arm.name}


def _reference(study: StoredStudy, arms: Sequence[StoredArm]) -> str | None:
    """Return the reference among the arms of one task; None where there is none."""
    if any(arm.name == study.reference for arm in arms):
        return study.reference
    return next((arm.name for arm in arms if arm.config.get("objective") == []), None)


def references(study: StoredStudy) -> list[str]:
    """Return the study's reference, and then those of other tasks that an arm is compared with."""
    return list(dict.fromkeys([study.reference, *compared_with(study).values()]))


def not_compared(study: StoredStudy) -> list[str]:
    """Return the arms that learned another task than the study's reference, and have no reference of their own."""
    known = {*references(study), *compared_with(study)}
    return [arm.name for arm in study.arms if arm.name not in known]


def reference_in_words(study: StoredStudy, alone: str) -> str:
    """Return `alone`, the words for the study's reference; where there are others, "the reference of its task"."""
    return alone if len(references(study)) == 1 else OF_ITS_TASK


def the_reference(study: StoredStudy) -> str:
    """Return "the reference “base”" as captions say it, or "the reference of its task"."""
    return reference_in_words(study, f"the reference “{study.reference}”")


def notes_on_tasks(study: StoredStudy) -> Iterator[str]:
    """Say that the arms learned several tasks, and what that means for the comparison; nothing where all learned one.

    The notes define what "the reference" of an arm means in all other sentences.
    """
    _, *others = references(study)
    if others:
        yield (
            f"The arms learn {counted(len(arms_by_task(study)), 'task')}, and numbers of different tasks cannot be "
            f"compared. The reference of an arm is one of its own task: {named(study.reference)}, or else the first "
            f"arm of the task without an objective ({listed([named(name) for name in others])})."
        )
    left = not_compared(study)
    if left:
        than = "any reference" if others else f"the reference {named(study.reference)}"
        of_it = "of its task" if len(left) == 1 else "of their task"
        yield (
            f"{listed([named(name) for name in left])} learned another task than {than} and {is_or_are(len(left))} not "
            f"compared: there is no other arm {of_it} without an objective."
        )


def with_references(study: StoredStudy, table: Table) -> Table:
    """Return the table with whom each row's arm is compared with; the same table where that is one for all arms."""
    if len(references(study)) == 1:
        return table
    of = compared_with(study)
    texts = of | dict.fromkeys(references(study), "reference") | dict.fromkeys(not_compared(study), numbers.MISSING)
    return inserted(table, COMPARED_WITH, texts, of)
