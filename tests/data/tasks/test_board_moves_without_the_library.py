"""What is said where OpenSpiel is not installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from deepsight.data.tasks.board_moves import BoardMoves
from deepsight.errors import UserError
from deepsight.plug_ins import tasks


@pytest.fixture(autouse=True)
def _no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspiel", None)


def test_it_is_one_sentence_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r'OpenSpiel.* is not installed: pip install "deepsight\[games\]"$'):
        BoardMoves()


def test_the_task_is_known_all_the_same() -> None:
    assert tasks.resolve("board_moves") == {
        "name": "board_moves",
        "game": "othello",
        "length": None,
        "training_set": 20_000,
    }


def test_a_command_ends_with_code_2_and_writes_nothing(
    command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = command_line("train", "tiny", "--set", "data={task: {name: board_moves, training_set: 7}}")
    assert answer.returncode == 2
    assert answer.stderr == (
        'Error: data.task: OpenSpiel, which knows the rules, is not installed: pip install "deepsight[games]"\n'
    )
    assert not list(tmp_path.iterdir())
