"""Games in the cache: the same everywhere, played once, whole or not there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")

from deepsight.data.tasks import played_games
from deepsight.data.tasks.board_rules import BoardRules
from deepsight.data.tasks.played_games import Moves, cached_at, random_games
from deepsight.errors import UserError

COUNT = 600

# Tells that it plays, and takes its time in playing or never ends writing.
SCRIPT = """
import hashlib, os, sys, time
from pathlib import Path
import numpy as np
from deepsight.data.tasks import played_games
from deepsight.data.tasks.board_rules import BoardRules

folder, how = Path(sys.argv[1]), sys.argv[2]
play, save = BoardRules.random_moves, np.savez_compressed

def playing(self, draws):
    if not (folder / f"played {os.getpid()}").exists():
        (folder / f"played {os.getpid()}").touch()
        time.sleep(0.5)
    return play(self, draws)

def half(file, **arrays):
    save(file, **arrays)
    file.truncate(file.tell() // 2)
    file.flush()
    (folder / "half").touch()
    time.sleep(600)

BoardRules.random_moves = playing
if how == "endless":
    np.savez_compressed = half
print(hashlib.sha256(played_games.random_games(BoardRules("tic_tac_toe"), 600).tobytes()).hexdigest())
"""


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), how], stdout=subprocess.PIPE, text=True)


def digest(moves: Moves) -> str:
    return hashlib.sha256(moves.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def rules() -> BoardRules:
    return BoardRules("tic_tac_toe")


def test_games_are_played_once(rules: BoardRules, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = random_games(rules, COUNT)
    assert moves.shape == (COUNT, 9)
    assert moves.dtype == np.int16
    monkeypatch.setattr(BoardRules, "random_moves", None)
    assert (random_games(rules, COUNT) == moves).all()


def test_more_games_begin_with_the_same_ones(rules: BoardRules) -> None:
    fewer, more = random_games(rules, 300), random_games(rules, COUNT)
    assert (more[:300] == fewer).all()
    assert len(np.unique(more, axis=0)) > 550


def test_another_count_game_or_library_is_another_file(rules: BoardRules, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {cached_at(rules, COUNT), cached_at(rules, COUNT + 1), cached_at(BoardRules("connect_four"), COUNT)}
    monkeypatch.setattr(rules, "library", "0.0")
    assert len({*paths, cached_at(rules, COUNT)}) == 4


def test_processes_that_ask_at_once_play_once_and_get_the_same(rules: BoardRules, cache: Path, tmp_path: Path) -> None:
    processes = [start(tmp_path, "quick") for _ in range(2)]
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("played *"))) == 1
    cached_at(rules, COUNT).unlink()
    assert said == {digest(random_games(rules, COUNT))}


def test_a_killed_player_leaves_nothing_that_is_taken_for_whole(rules: BoardRules, cache: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "endless")
    deadline = time.monotonic() + 60
    while not (tmp_path / "half").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list((cache / "games").glob(".*.tmp"))
    assert not cached_at(rules, COUNT).exists()
    moves = random_games(rules, COUNT)
    assert (moves[:, 0] >= 0).all()
    assert not list((cache / "games").glob(".*.tmp"))


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_damage_is_seen_and_mended(rules: BoardRules, damage: str) -> None:
    moves = random_games(rules, COUNT)
    path = cached_at(rules, COUNT)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[: len(content) // 2], "changed": content, "empty": b""}[damage])
    assert (random_games(rules, COUNT) == moves).all()
    assert path.stat().st_size == len(content)


def test_a_cache_that_cannot_be_written_is_one_sentence(
    rules: BoardRules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPSIGHT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"the cache folder .*file cannot be written .*name another in DEEPSIGHT_CACHE"):
        random_games(rules, COUNT)


def test_how_far_it_is_is_told(rules: BoardRules, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[Any]()

    class Bar:
        def __init__(self, *arguments: Any) -> None:
            told.append(arguments)

        def __enter__(self) -> Any:
            return told.append

        def __exit__(self, *error: Any) -> None:
            return None

    monkeypatch.setattr(played_games, "late_bar", Bar)
    random_games(rules, COUNT)
    assert told == [("playing games of tic_tac_toe", COUNT), 256, 512, COUNT]
