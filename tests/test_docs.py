"""The examples of the documentation do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deepsight.plug_ins import probes, tasks

TASKS = Path(__file__).parents[1] / "docs" / "tasks.md"


def test_every_task_has_its_row() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", TASKS.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {name for name in tasks.names() if name != "counting"} <= named


def test_a_task_of_your_own(command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```python\n(# counting\.py\n.*?)```", TASKS.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    (tmp_path / "counting.py").write_text(found[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shown = command_line("data", "show", "counting", "--plugin", "counting.py")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^whole +0\.0% +100\.0%$", shown.stdout, re.MULTILINE)
    trained = command_line(
        "train", "tiny", "--plugin", "counting.py", "--set", "data.task=counting", "--set", "training.steps=3",
        "--set", "training.warmup_steps=0", "--set", "objective={name: multi_token, n: 2}",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "(whole " in trained.stdout


def test_every_probe_has_its_row() -> None:
    text = (TASKS.parent / "probes.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert set(probes.names()) <= named
