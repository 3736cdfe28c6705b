"""What a study's folder has of the plan that is to run in it: what changed since, and what will be reused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ablations.stored import StoredStudy
from deepsight.merging import with_dotted_keys

MOST_NAMED = 6


def change_sentence(stored: StoredStudy, planned: StoredStudy, done: Collection[str]) -> str | None:
    """Say what differs between the plan in a folder and the present one; None where both have the same trials.

    Args:
        stored: the plan in the folder.
        planned: the present one.
        done: ids of finished trials in the folder.

    """
    before, now = trials_of(stored), trials_of(planned)
    if before == now:
        return None
    reused, gone = len(now & set(done)), len(before - now)
    kept = f"; {_trials(gone)} of the folder {'is' if gone == 1 else 'are'} no longer part of it" if gone else ""
    return (
        f"The study has changed since this folder was last used: {_listed(_changes(stored, planned))}. "
        f"{reused} of its {_trials(len(now))} {'is' if reused == 1 else 'are'} done and will be reused{kept}."
    )


def trials_of(study: StoredStudy) -> set[str]:
    """Return the ids of all trials of a plan, those for tuning included."""
    compared = {trial for arm in study.arms for trial in arm.trials.values()}
    return compared | {trial for arm in study.arms for one in arm.candidates for trial in one.trials.values()}


def _changes(stored: StoredStudy, planned: StoredStudy) -> list[str]:
    changes = [f"base.{text}" for text in _different(stored.base, planned.base)]
    before, now = ({arm.name: arm for arm in study.arms} for study in (stored, planned))
    changes += [f"arm {name!r} is new" for name in now if name not in before]
    changes += [f"arm {name!r} is gone" for name in before if name not in now]
    for name in (name for name in now if name in before):
        changes += [f"arm {name!r}: {text}" for text in _different(before[name].settings, now[name].settings)]
    if stored.seeds != planned.seeds:
        changes.append(f"seeds are {planned.seeds} instead of {stored.seeds}")
    # Equal words for other trials: the text of the corpus, a plug-in's code, or what is tuned.
    return changes or ["the corpus, a plug-in's code, or this program"]


def _different(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    without = [{key: value for key, value in data.items() if key != "runtime"} for data in (before, now)]
    old, new = map(with_dotted_keys, without)
    keys = dict.fromkeys([*old, *new])
    return [f"{key} is {new.get(key)!r} instead of {old.get(key)!r}" for key in keys if old.get(key) != new.get(key)]


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_NAMED
    return "; ".join([*texts[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _trials(count: int) -> str:
    return f"{count} trial" if count == 1 else f"{count} trials"
