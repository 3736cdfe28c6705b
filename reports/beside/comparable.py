"""How far two studies can be compared: in sentences, before any number is read across."""

from __future__ import annotations

from collections.abc import Iterator

from reports.beside.sides import Side, shared_arms, shared_trials
from reports.frames import identity
from reports.wording import counted, is_or_are, listed, named

MOST_NAMES = 4
TOKENIZER = "data.tokenizer"
NOT_MEASURED = ("evaluation.every",)
"""The last step is always evaluated, however often the others are."""


def remarks(a: Side, b: Side) -> list[str]:
    """Return what a reader must know before reading across."""
    return [*_of_losses(a, b), *_of_references(a, b), *_of_runs(a, b), UNTESTED]


UNTESTED = (
    "Nothing here tests A against B. A paired test would need runs of one seed that started from the same weights and "
    "saw the same batches on both sides; and a verdict that is had in one study but not in the other does not show "
    "that the two differ. Each verdict is adjusted over the comparisons of its own study."
)


def measured_differently(a: Side, b: Side) -> list[str]:
    """Return the configuration keys that say what a loss is measured on, and that are not the same in both studies.

    They are compared between the references, and between arms of one name.
    """
    found: dict[str, None] = {}
    for left, right in _counterparts(a, b):
        one, other = a.config(left), b.config(right)
        for key in dict.fromkeys([*one, *other]):
            if _is_measure(key) and identity(one.get(key)) != identity(other.get(key)):
                found[key] = None
    return list(found)


def reads_other_text(a: Side, b: Side) -> bool:
    """Whether trials that should have read the same text have recorded that they did not."""
    pairs = [(a.texts.get(left), b.texts.get(right)) for left, right in _counterparts(a, b)]
    return any(left and right and left != right for left, right in pairs)


def same_question(a: Side, b: Side) -> bool:
    """Whether differences are to a reference of the same name."""
    return a.study.reference == b.study.reference


def _of_losses(a: Side, b: Side) -> Iterator[str]:
    keys = measured_differently(a, b)
    if keys:
        yield _incomparable(f"{listed(keys, MOST_NAMES)} {is_or_are(len(keys))} not the same in both")
    elif reads_other_text(a, b):
        yield _incomparable("by its digest, the tokenised text that their trials have read is not the same")
    else:
        recorded = all(a.texts.get(left) and b.texts.get(right) for left, right in _counterparts(a, b))
        text = "is equal by its digest" if recorded else "has not been recorded by trials of all of them yet"
        yield (
            "Validation losses of A and B can be read side by side: the references, and the arms of one name, have "
            f"data, tokenizer, context and evaluation configured alike; the text that they have read {text}."
        )
    if TOKENIZER in keys:
        yield (
            "Their tokenizers differ, so a nat per token is not the same amount in both: not even the sizes of the "
            "differences have one unit, only their signs do."
        )


def _incomparable(reason: str) -> str:
    return (
        f"Validation losses of A and B cannot be compared with each other: {reason}. Differences to the reference of "
        "their own study can still be looked at side by side."
    )


def _of_references(a: Side, b: Side) -> Iterator[str]:
    if not same_question(a, b):
        yield (
            f"The references differ ({named(a.study.reference)} in A, {named(b.study.reference)} in B), so differences "
            "and verdicts answer another question in each, and are not set against each other."
        )


def _of_runs(a: Side, b: Side) -> Iterator[str]:
    """Say what is the same run in both, and so is no second observation."""
    counts = {name: shared_trials(a.arms[name], b.arms[name]) for name in shared_arms(a, b)}
    shared = {name: count for name, count in counts.items() if count}
    total = sum(shared.values())
    names = listed([named(name) for name in shared], MOST_NAMES)
    if shared:
        yield (
            f"{counted(total, 'trial')} of {names} {'is' if total == 1 else 'are'} the same "
            f"{'run' if total == 1 else 'runs'} in both studies: there, nothing has been observed twice."
        )
    if same_question(a, b) and a.study.reference in shared:
        yield (
            f"The reference {named(a.study.reference)} is one of them, so the differences of the other arms share its "
            "noise, and are not independent of each other either."
        )
    for left, right in _renamed(a, b):
        yield f"{named(left)} in A is the same run as {named(right)} in B."


def _renamed(a: Side, b: Side) -> Iterator[tuple[str, str]]:
    """Yield arms that mean the same run under two names."""
    for left in (arm for arm in a.study.arms if arm.name not in b.arms):
        for right in (arm for arm in b.study.arms if arm.name not in a.arms):
            if shared_trials(left, right):
                yield left.name, right.name


def _counterparts(a: Side, b: Side) -> list[tuple[str, str]]:
    """Return the arms to be held against each other: the references, and those of one name."""
    return [(a.study.reference, b.study.reference), *((name, name) for name in shared_arms(a, b))]


def _is_measure(key: str) -> bool:
    return key == "model.context" or (key.startswith(("data.", "evaluation.")) and key not in NOT_MEASURED)
