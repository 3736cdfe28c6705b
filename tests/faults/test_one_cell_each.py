"""One cell for each way to fail: the rest finishes, and the page says what happened."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ablations
from ablations.attempts import read_history
from ablations.stored import read_plan, trial_folder
from tests.ablations.studies import study_data, write_study
from tests.ablations.test_running import command
from tests.faults.trouble import check_no_leftovers, write_plugin
from tests.runs import write_text

STALL = 6.0
FAILURES = {
    "raise": ("crashed", "RuntimeError: no more of this", 1),
    "nan": ("diverged", "not finite", 1),
    "memory": ("out of memory", "no room for 1 sequences", 3),
    "segfault": ("crashed", "SIGSEGV", 1),
    "exit": ("crashed", "exit code 7", 1),
    "kill": ("lost", "SIGKILL", 3),
    "hang": ("stalled", "no sign of life for 6 s", 3),
    "disk": ("crashed", "No space left on device", 1),
}
"""How a trial is ended → the way it is said to have ended, a part of the message, and how often it was tried."""


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study with all of it, run once from the command line: its folder, and what was said."""
    folder = tmp_path_factory.mktemp("faults")
    data = study_data(write_text(folder / "text"), seeds=1)
    for how in (*FAILURES, "memory above one", "chatter"):
        data["arms"][how] = {"objective": {"name": "trouble", "how": how}}
    file = write_study(folder / "study.yaml", data)
    arguments = ["--workers", "2", "--stall-limit", str(STALL), "--stop-after", "0"]
    answer = command(
        "ablate", str(file), "--out", str(folder / "out"), "--plugin", str(write_plugin(folder)), *arguments
    )
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    return folder / "out", answer.stdout


@pytest.fixture(scope="module")
def trials(answered: tuple[Path, str]) -> pd.DataFrame:
    return ablations.load(answered[0]).set_index("arm")


@pytest.mark.slow
@pytest.mark.parametrize("how", FAILURES)
def test_each_failure_is_told_for_what_it_is(answered: tuple[Path, str], trials: pd.DataFrame, how: str) -> None:
    kind, message, attempts = FAILURES[how]
    assert trials.loc[how, "status"] == "failed"
    assert trials.loc[how, "failure"] == kind
    assert message in str(trials.loc[how, "failure_message"])
    assert trials.loc[how, "attempts"] == attempts
    folder, said = answered
    assert f"failed {how} (seed 0): {kind}" in " ".join(said.split())
    page = re.sub(r"<[^>]+>", " ", (folder / "report" / "index.html").read_text(encoding="utf-8"))
    assert re.search(rf"{how}\s+0\s+.*?{kind}", page, re.S)


def test_the_rest_finishes(answered: tuple[Path, str], trials: pd.DataFrame) -> None:
    rest = set(trials.index) - set(FAILURES)
    assert rest == {"plain", "future", "memory above one", "chatter"}
    assert set(trials.loc[list(rest), "status"]) == {"done"}
    check_no_leftovers(answered[0])


def test_what_ran_out_of_memory_goes_on_with_smaller_parts(answered: tuple[Path, str], trials: pd.DataFrame) -> None:
    place = trial_folder(answered[0], str(trials.loc["memory above one", "trial"]))
    tried = read_history(place).attempts
    assert [attempt.micro_batch_size for attempt in tried] == [None, 2, 1]
    assert trials.loc["memory above one", "batch_digest"] == trials.loc["plain", "batch_digest"]


def test_a_log_does_not_grow_without_end(answered: tuple[Path, str], trials: pd.DataFrame) -> None:
    log = trial_folder(answered[0], str(trials.loc["chatter", "trial"])) / "log.txt"
    assert "bytes were cut here" in log.read_text(encoding="utf-8")
    assert log.stat().st_size <= 4 * 2**20


def test_failed_trials_stay_failed_until_asked_for(
    answered: tuple[Path, str], command_line: Callable[..., Any]
) -> None:
    folder, _ = answered
    before = {path: path.read_bytes() for path in folder.rglob("attempts.jsonl")}
    answer = command_line(
        "ablate", str(folder / "study.yaml"), "--out", str(folder), "--plugin", str(folder / "plugins" / "trouble.py")
    )
    assert answer.returncode == 1
    assert "--retry failed runs these trials again" in answer.stdout
    assert {path: path.read_bytes() for path in folder.rglob("attempts.jsonl")} == before
    assert len(read_plan(folder).arms) == len(FAILURES) + 4
