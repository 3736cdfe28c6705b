"""The README's examples do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[1] / "README.md"


def block(language: str, file: str) -> str:
    """Return the code block of that language whose first line names the file."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(# {re.escape(file)}\n.*?)```", text, re.DOTALL)
    assert found, f"the README has no {language} block that begins with # {file}"
    return found.group(1)


@pytest.mark.slow
def test_an_objective_in_ten_lines_and_a_study_in_ten_lines(
    command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, study = block("python", "two_ahead.py"), block("yaml", "study.yaml")
    assert len([line for line in study.splitlines() if line.strip()]) <= 11
    (tmp_path / "two_ahead.py").write_text(objective, encoding="utf-8")
    # The README's study at a size for a test: the same keys, a few steps, and the text of one package.
    less = "data: {corpus: {name: pydocs, packages: [click]}}, training: {steps: 3, warmup_steps: 0}"
    small = study.replace("preset: tiny", f"preset: tiny, {less}").replace("seeds: 5", "seeds: 1")
    assert small.count(less) == small.count("seeds: 1") == 1
    (tmp_path / "study.yaml").write_text(small, encoding="utf-8")
    command = ("ablate", "study.yaml", "--plugin", "two_ahead.py")
    monkeypatch.chdir(tmp_path)
    planned = command_line(*command, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "runs").exists()
    answer = command_line(*command)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "runs" / "two-ahead" / "report" / "index.html").is_file()


def test_commands_named_in_the_readme_exist(command_line: Any) -> None:
    text = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"^(?:\S+/)?deepsight (\w+)", text, re.MULTILINE))
    assert {"train", "ablate", "model"} <= commands
    for command in commands:
        assert command_line(command, "--help").returncode == 0, command
