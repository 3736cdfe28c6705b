"""Three reports that several files of tests look at, written once."""

from __future__ import annotations

import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class LargeReport:
    """The size of a page, and what it took to write it with all its files, in seconds of one core."""

    size: int
    seconds: float


@pytest.fixture(scope="session")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> LargeReport:
    """A report of 20 arms with 10 seeds, 26 evaluations each, 18 arms with diagnostics of their objective."""
    study, trials, _ = synthetic.grid(10)
    curves = synthetic.curves_of(
        study, trials, {arm.name: True for arm in study.arms if "objective.n" in arm.settings}, range(0, 301, 12)
    )
    began = time.process_time()
    page = write_report(study, trials, curves, synthetic.records_of(trials), tmp_path_factory.mktemp("large"))
    return LargeReport(page.stat().st_size, time.process_time() - began)
