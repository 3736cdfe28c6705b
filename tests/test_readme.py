"""The README's examples do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def block(language: str, file: str) -> str:
    """Return the code block of that language whose first line names the file."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(# {re.escape(file)}\n.*?)```", text, re.DOTALL)
    assert found, f"the README has no {language} block that begins with # {file}"
    return found.group(1)


def deepsight(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "deepsight", *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_an_objective_in_ten_lines_and_a_study_in_ten_lines(tmp_path: Path) -> None:
    objective, study = block("python", "two_ahead.py"), block("yaml", "study.yaml")
    assert len([line for line in study.splitlines() if line.strip()]) <= 11
    (tmp_path / "two_ahead.py").write_text(objective, encoding="utf-8")
    # The README's study at a size for a test: the same keys, a few steps.
    small = study.replace("preset: tiny", "preset: tiny, training: {steps: 3, warmup_steps: 0}").replace(
        "seeds: 5", "seeds: 1"
    )
    assert small.count("steps: 3") == small.count("seeds: 1") == 1
    (tmp_path / "study.yaml").write_text(small, encoding="utf-8")
    command = ("ablate", "study.yaml", "--plugin", "two_ahead.py")
    planned = deepsight(tmp_path, *command, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "runs").exists()
    answer = deepsight(tmp_path, *command)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "runs" / "two-ahead" / "report" / "index.html").is_file()


def test_commands_named_in_the_readme_exist(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"^(?:\S+/)?deepsight (\w+)", text, re.MULTILINE))
    assert {"train", "ablate", "model"} <= commands
    for command in commands:
        assert deepsight(tmp_path, command, "--help").returncode == 0, command
