"""What a measured step takes is the step's own."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from ablations.estimate import measured
from tests.runs import run_of

PAUSE = 0.5


def test_a_measured_step_does_not_count_what_is_tidied_up_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidied: list[float] = []

    def tidy() -> int:
        tidied.append(PAUSE)
        time.sleep(PAUSE)
        return 0

    monkeypatch.setattr(gc, "collect", tidy)
    config = run_of(tmp_path)
    found = measured(config)
    assert tidied
    assert 0 < found.seconds_per_token * config.training.batch_size * config.model.context < PAUSE
