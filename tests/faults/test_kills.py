"""kill -9 of trials, of their template and of the driver, at random moments: the study ends as if nothing had been."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ablations.driver import Job, work
from ablations.plan import Plan
from ablations.status import read_status
from deepsight.errors import UserError
from tests.ablations.studies import planned
from tests.faults.trouble import (
    TORTURE,
    check_no_leftovers,
    check_nothing_ran_twice,
    long_study,
    outcome,
    start_driver,
)
from tests.runs import write_text

KILLS = 100 if TORTURE else 5
SECONDS = 3600 if TORTURE else 300


@pytest.mark.slow
def test_killed_at_random_moments_a_study_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    study = long_study(tmp_path, write_text(tmp_path / "text"))
    plan = planned(study)
    undisturbed = tmp_path / "undisturbed" / "out"
    assert work(Job(study, undisturbed, (), "deepsight ablate"), workers=2) is None
    expected = outcome(undisturbed, plan)
    check_nothing_ran_twice(undisturbed, plan)

    dice, limit = random.Random(4), time.monotonic() + SECONDS
    killed: list[str] = []
    rounds = 0
    while len(killed) < KILLS:
        assert time.monotonic() < limit, killed
        folder = tmp_path / f"disturbed-{rounds}" / "out"  # apart, or they would share what is finished
        _disturb(study, folder, plan, dice, killed, limit)
        assert outcome(folder, plan) == expected
        check_nothing_ran_twice(folder, plan)
        check_no_leftovers(folder)
        rounds += 1
    assert {"trial", "driver"} <= set(killed)


def _disturb(study: Path, folder: Path, plan: Plan, dice: random.Random, killed: list[str], limit: float) -> None:
    """Run a study to its end, killing something every now and then."""
    driver = start_driver(study, folder)
    try:
        while driver.poll() is None or driver.returncode != 0:
            assert time.monotonic() < limit, killed
            time.sleep(dice.uniform(0.05, 0.8))
            if driver.poll() is not None:
                assert driver.returncode in (0, -signal.SIGKILL), (driver.communicate()[0] or b"").decode()
                if driver.returncode:
                    driver = start_driver(study, folder)
                continue
            if len(killed) < KILLS:
                _kill_something(driver, folder, dice, killed)
    finally:
        driver.kill()
        driver.communicate()
    # What a killed driver had begun may have ended a moment after it.
    assert all(trial.status == "done" for trial in read_status(folder).trials)


def _kill_something(driver: subprocess.Popen[bytes], folder: Path, dice: random.Random, killed: list[str]) -> None:
    with contextlib.suppress(UserError, ProcessLookupError):
        running = [trial for trial in read_status(folder).trials if trial.status == "running" and trial.last]
        if not running:
            return
        # The first two are one of each, whatever the dice say.
        what = (
            ("trial", "driver")[len(killed)]
            if len(killed) < 2
            else dice.choice(["trial", "trial", "driver", "template"])
        )
        victim = dice.choice(running).last
        target = victim.process if victim is not None else 0
        process = {"driver": driver.pid, "trial": target, "template": _parent(target)}[what]
        os.kill(process, signal.SIGKILL)
        killed.append(what)
        if what == "driver":
            driver.wait()


def _parent(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        raise ProcessLookupError from None
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
