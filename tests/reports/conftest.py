"""Two reports that several files of tests look at, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.records import Records
from reports.writing import write_report
from tests.reports import synthetic


@pytest.fixture(scope="session")
def half_finished_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of a half-finished study whose trials left a configuration and provenance."""
    study, trials, curves = synthetic.half_finished()
    return write_report(study, trials, curves, synthetic.records_of(trials), tmp_path_factory.mktemp("half")).parent


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of a study whose names try to be markup."""
    return write_report(*synthetic.hostile(), Records(), tmp_path_factory.mktemp("hostile") / "report").parent
