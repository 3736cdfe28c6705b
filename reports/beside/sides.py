"""One of two studies that are looked at side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ablations.attempts import result_of
from ablations.frames import flat_config
from ablations.stored import STUDY_FILE, StoredArm, StoredStudy, trial_folder
from deepsight.errors import UserError
from deepsight.yaml_files import read_yaml
from reports.comparisons import Comparison, compare
from reports.main_table import main_table
from reports.sources import read_sources
from reports.table import Table
from reports.task_results import measured_tasks


@dataclass(frozen=True)
class Side:
    """A study under the letter that it has in the page.

    Attributes:
        letter: A or B.
        folder: the name of its folder.
        texts: arm → digests of the tokenised text that its finished trials have read, as far as they recorded it.
        preset: the one that its base began with; None where that is not known.

    """

    letter: str
    folder: str
    study: StoredStudy
    trials: pd.DataFrame
    curves: pd.DataFrame
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    preset: str | None = None

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """Each arm beside the reference of this study."""
        return compare(self.study, self.trials)

    @cached_property
    def main(self) -> Table:
        """The main table of this study."""
        return main_table(self.study, self.trials, self.comparisons, of_answers=bool(measured_tasks(self.curves)))

    @cached_property
    def arms(self) -> dict[str, StoredArm]:
        """Name → arm."""
        return {arm.name: arm for arm in self.study.arms}

    def config(self, arm: str) -> dict[str, Any]:
        """Return the configuration of an arm by dotted key."""
        stored = self.arms[arm]
        if stored.config:
            return flat_config(stored.config)
        return {**flat_config(self.study.base), **stored.settings}


def read_side(letter: str, folder: Path) -> Side:
    """Read the study in a folder.

    Raises:
        UserError: the folder holds no study.

    """
    study, trials, curves, _ = read_sources(folder)
    texts = {arm.name: _texts(folder, arm) for arm in study.arms}
    return Side(letter, folder.resolve().name, study, trials, curves, texts, _preset(folder))


def shared_arms(a: Side, b: Side) -> list[str]:
    """Return the names of the arms that both studies have, in the order of the first."""
    return [name for name in a.arms if name in b.arms]


def shared_trials(arm: StoredArm, other: StoredArm) -> int:
    """Return how many trials of an arm are, as runs, also trials of another one."""
    return len(set(arm.trials.values()) & set(other.trials.values()))


def _texts(folder: Path, arm: StoredArm) -> frozenset[str]:
    results = (result_of(trial_folder(folder, trial)) for trial in arm.trials.values())
    digests = (result.get("data_digest") for result in results if result is not None)
    return frozenset(str(digest) for digest in digests if digest is not None)


def _preset(folder: Path) -> str | None:
    try:
        return str(read_yaml(folder / STUDY_FILE)["base"]["preset"])
    except (UserError, LookupError, TypeError):
        return None
