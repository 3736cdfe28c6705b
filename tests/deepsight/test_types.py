"""The types of all rooms are checked along with the tests: alone, mypy would leave a core idle for a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_types_are_right() -> None:
    root = Path(__file__).parents[2]
    answer = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
