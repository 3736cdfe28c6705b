"""`deepsight bench`: what it prints, writes and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import benchmarks
from benchmarks.measuring import Comparison, limit, speed
from benchmarks.options import Options


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Options]]:
    """Let benchmarks find something at once, and return what they were asked."""
    asked: list[tuple[str, Options]] = []

    def run(name: str, options: Options) -> Iterator[Comparison]:
        asked.append((name, options))
        yield speed(name, "A", "training step", {"ours": [1.0], "peer": [1.5]}, "ours", "peer", 1.3)
        yield limit(name, "", "--help", [0.9], "s", 0.7)

    monkeypatch.setattr(benchmarks, "run", run)
    return asked


def test_it_prints_ratios_and_writes_them(command_line: Any, measured: Any, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    answer = command_line("bench", "step", "startup", "--shape", "A", "--repeats", "3", "--out", file)
    assert answer.returncode == 0, answer.stderr
    assert [name for name, _ in measured] == ["step", "startup"]
    assert [shape.name for shape in measured[0][1].shapes] == ["A"]
    assert measured[0][1].repeats == 3
    for part in ("1.5", "≥ 1.3", "1.29", "≤ 1", "2 of 4 lines are short of what was asked for", "torch"):
        assert part in answer.stdout
    assert pd.read_csv(file)["benchmark"].tolist() == ["step", "step", "startup", "startup"]


def test_all_benchmarks_run_when_none_is_named(command_line: Any, measured: Any, tmp_path: Path) -> None:
    assert command_line("bench", "--out", tmp_path / "table.csv").returncode == 0
    assert [name for name, _ in measured] == list(benchmarks.BENCHMARKS)


def test_its_help_names_all_benchmarks(command_line: Any) -> None:
    said = " ".join(command_line("bench", "--help").stdout.replace("│", " ").split())
    assert ", ".join(benchmarks.BENCHMARKS) in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stp"], "unknown benchmark 'stp'; did you mean 'step'? known:"),
        (["--shape", "C"], "unknown shape 'C'; known: A, B"),
        (["--device", "tpu"], "device"),
        (["--repeats", "0"], "repeats"),
        (["--out", "."], "this is a folder"),
    ],
)
def test_bad_input_is_one_sentence(
    command_line: Any, measured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = command_line("bench", *words)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert measured == []
    assert list(tmp_path.iterdir()) == []
