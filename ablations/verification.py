"""Whether finished trials can be repeated: some run again from the start, beside what they left the first time."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.attempts import result_of
from ablations.frames import TASK
from ablations.plan import Plan, Trial
from ablations.stored import trial_folder

VERIFICATION_FOLDER = "verification"
COMPARED = (
    "initial_digest",
    "batch_digest",
    "data_digest",
    "step",
    "tokens",
    "train_loss",
    "validation_loss",
    "bits_per_byte",
)
"""Of a result: what an equal run must repeat to the last bit on an equal machine; a task's measures too."""


@dataclass(frozen=True)
class Check:
    """One trial run again.

    Attributes:
        trial: which one.
        differences: key → (before, again) of what is not the same.
        missing: whether the second run left no result.

    """

    trial: Trial
    differences: dict[str, tuple[Any, Any]]
    missing: bool = False

    @property
    def holds(self) -> bool:
        """Whether the second run gave the same."""
        return not self.differences and not self.missing

    def sentence(self) -> str:
        """Say what came out."""
        name = f"{self.trial.arm} (seed {self.trial.config.seed})"
        if self.missing:
            return f"{name}: the second run left no result"
        if self.holds:
            return f"{name}: the same to the last bit"
        parts = [f"{key} was {before} and is {again}" for key, (before, again) in self.differences.items()]
        return f"{name}: {'; '.join(parts)}"


def chosen(plan: Plan, folder: Path, count: int, seed: int) -> list[Trial]:
    """Return up to `count` finished trials of a plan, drawn at random."""
    done = [trial for trial in plan.trials if result_of(trial_folder(folder, trial.id)) is not None]
    return random.Random(seed).sample(done, min(count, len(done)))


def fresh_folder(folder: Path) -> Path:
    """Return an empty folder for second runs inside a study's folder."""
    place = folder / VERIFICATION_FOLDER
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def compare(folder: Path, again: Path, trials: Sequence[Trial]) -> list[Check]:
    """Compare second runs in `again` with the trials of a study's folder."""
    return [_compared(trial, trial_folder(folder, trial.id), trial_folder(again, trial.id)) for trial in trials]


def _compared(trial: Trial, first: Path, second: Path) -> Check:
    before, now = result_of(first), result_of(second)
    if before is None or now is None:
        return Check(trial, {}, missing=True)
    tasks = (key for key in {**before, **now} if key.startswith(TASK))
    compared = dict.fromkeys([*COMPARED, *tasks])
    return Check(trial, {key: (before.get(key), now.get(key)) for key in compared if before.get(key) != now.get(key)})
