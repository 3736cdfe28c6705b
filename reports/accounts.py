"""What each arm was given: the ledger of its trials, the values that were tuned for it, and the trials that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from ablations.stored import Candidate, StoredArm, StoredStudy
from reports import numbers
from reports.frames import STATUSES, complete_trials, rows_of
from reports.groups import grouped
from reports.table import Cell, Column, Table, columns_of, count_cell
from reports.tables import trial_cell
from reports.wording import counted, listed, named, setting_text

MOST_NAMES = 8


def tuning_trials(arm: StoredArm) -> int:
    """Return how many trials were given to choose the arm's tuned values."""
    return len(_tuning_ids([arm]))


def ledger(study: StoredStudy, trials: pd.DataFrame) -> Table:
    """Return how many trials each arm was given, how they ended, and what they cost."""
    trials = complete_trials(study, trials)
    accounts = [_account(arm.name, [arm], trials[trials["arm"] == arm.name]) for arm in study.arms]
    accounts.append(_account("all trials", study.arms, trials.drop_duplicates("trial")))
    tuned, attempts = any(arm.candidates for arm in study.arms), bool(trials["attempts"].notna().any())
    titles = [
        "arm",
        *(["tuning trials"] if tuned else []),
        *STATUSES,
        *(["attempts"] if attempts else []),
        "time",
        "tokens",
        "peak memory",
    ]
    rows = tuple(
        (
            Cell(account["arm"], strong=account is accounts[-1]),
            *([count_cell(account["tuning_trials"])] if tuned else []),
            *(count_cell(account[status]) for status in STATUSES),
            *([count_cell(account["attempts"])] if attempts else []),
            Cell(numbers.duration(account["seconds"]), key=account["seconds"]),
            Cell(numbers.quantity(account["tokens"]), key=account["tokens"]),
            Cell(numbers.memory(account["peak_memory"]), key=account["peak_memory"]),
        )
        for account in accounts
    )
    table = Table(
        name="ledger",
        caption="Trials given to each arm, how they ended, and their time, tokens and largest peak memory.",
        columns=columns_of(titles),
        rows=rows,
        notes=tuple(_notes(study, trials)),
        data=pd.DataFrame(accounts),
        totals=1,
    )
    return grouped(study, table)


def failures(study: StoredStudy, trials: pd.DataFrame) -> Table | None:
    """Return the failed trials with what happened to each; None where none failed."""
    trials = complete_trials(study, trials)
    failed = trials[trials["status"] == "failed"]
    if failed.empty:
        return None
    attempts = bool(failed["attempts"].notna().any())
    rows = tuple(
        (
            Cell(str(row.arm)),
            Cell(str(row.seed), key=float(row.seed)),
            Cell(_text(row.failure) or "failed", kind="failed"),
            Cell(_text(row.failure_message) or numbers.MISSING),
            *([count_cell(row.attempts)] if attempts else []),
            trial_cell(row.trial),
        )
        for row in rows_of(failed)
    )
    return Table(
        name="failures",
        caption="Trials that failed. Each takes its pair with it; nothing is imputed.",
        columns=(
            Column("arm"),
            Column("seed", numeric=True),
            Column("kind"),
            Column("message"),
            *([Column("attempts", numeric=True)] if attempts else []),
            Column("trial"),
        ),
        rows=rows,
        notes=(),
        data=failed[["arm", "seed", "trial", "failure", "failure_message", "attempts"]],
    )


def _account(name: str, arms: Sequence[StoredArm], rows: pd.DataFrame) -> dict[str, Any]:
    counts = rows["status"].value_counts()
    return {
        "arm": name,
        "tuning_trials": len(_tuning_ids(arms)),
        **{status: int(counts.get(status, 0)) for status in STATUSES},
        "attempts": float(rows["attempts"].sum(min_count=1)),
        "seconds": float(rows["seconds"].sum()),
        "tokens": float(rows["tokens"].sum()),
        "peak_memory": float(rows["peak_memory"].max()),
        "tuned": _chosen(arms[0]) if len(arms) == 1 else None,
    }


def _notes(study: StoredStudy, trials: pd.DataFrame) -> Iterator[str]:
    shared = int(trials["trial"].duplicated().sum())
    if shared:
        yield f"{shared} trials serve more than one arm, and count once in the last row."
    tuned = [arm for arm in study.arms if arm.candidates]
    if not tuned:
        return
    seeds = sorted({seed for arm in tuned for candidate in arm.candidates for seed in candidate.trials})
    yield (
        f"Tuned with {counted(len(seeds), 'seed')} that {'is' if len(seeds) == 1 else 'are'} not used to compare "
        f"({listed([str(seed) for seed in seeds])}): {'; '.join(_choices(tuned))}."
    )
    given = {tuning_trials(arm) for arm in study.arms if not arm.control}
    if len(given) == 1:
        yield f"Every arm was given equally many tuning trials: {given.pop()}."
    if any(arm.control for arm in study.arms):
        yield "The A/A control takes the reference's tuned values."


def _choices(arms: Sequence[StoredArm]) -> Iterator[str]:
    """Yield "training.learning_rate 0.001 in “a” and “b”" for each choice; arms without one last."""
    chosen: dict[str, list[str]] = {}
    for arm in arms:
        settings = _chosen(arm)
        text = "" if settings is None else ", ".join(f"{key} {setting_text(value)}" for key, value in settings.items())
        chosen.setdefault(text, []).append(named(arm.name))
    for text in sorted(chosen, key=lambda text: not text):
        names = listed(chosen[text], MOST_NAMES)
        yield f"{text} in {names}" if text else f"not yet chosen in {names}"


def _chosen(arm: StoredArm) -> dict[str, Any] | None:
    """Return the tuned values that an arm took; None where nothing is chosen (yet)."""
    taken: Candidate | None = next((candidate for candidate in arm.candidates if candidate.chosen), None)
    return dict(taken.settings) if taken is not None else None


def _tuning_ids(arms: Sequence[StoredArm]) -> set[str]:
    return {trial for arm in arms for candidate in arm.candidates for trial in candidate.trials.values()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
