"""What a report is made of, read from a study's folder at once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ablations.frames import curves, load
from ablations.stored import StoredStudy, read_plan
from reports.records import Records, read_records


class Sources(NamedTuple):
    """A study's plan, its frames, and the records of its trials."""

    study: StoredStudy
    trials: pd.DataFrame
    curves: pd.DataFrame
    records: Records

    def same_as(self, other: Sources) -> bool:
        """Whether a report of `other` would say the same."""
        return (
            self.study == other.study
            and self.records == other.records
            and self.trials.equals(other.trials)
            and self.curves.equals(other.curves)
        )


def read_sources(folder: Path) -> Sources:
    """Read what the study in a folder has left so far.

    Raises:
        UserError: the folder holds no study.

    """
    study = read_plan(folder)
    return Sources(study, load(folder), curves(folder), read_records(folder, study))
