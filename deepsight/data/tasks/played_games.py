"""Random games in the cache: they are played once, appear whole or not at all, and are found again by what they are."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from deepsight.data.progress import late_bar
from deepsight.data.tasks.board_rules import BoardRules
from deepsight.errors import UserError
from deepsight.files import atomic_path, cache_folder, digest_of_json, remove_leftovers
from deepsight.random_streams import derive

Moves: TypeAlias = npt.NDArray[np.int16]
"""Actions of games, (games, moves of the longest); -1 after the last."""

SCHEMA = 1
"""Raised when equal parameters would give other games, or another file."""
BLOCK = 256
"""Games whose random numbers are drawn together; a part of what names them, so another number gives other games."""


def random_games(rules: BoardRules, count: int) -> Moves:
    """Return the first `count` games, which are played if they are not in the cache yet.

    Processes that ask for the same games at once play them once: one plays, the others wait for it. More games begin
    with the same ones.

    Raises:
        UserError: the cache folder cannot be written.

    """
    path = cached_at(rules, count)
    try:
        moves = _stored(path)
        if moves is not None:
            return moves
        path.parent.mkdir(parents=True, exist_ok=True)
        # The kernel frees the lock when this process ends, however it ends.
        with FileLock(path.with_name(f".{path.stem}.lock")):
            moves = _stored(path)
            if moves is None:
                remove_leftovers(path.parent)
                moves = _played(rules, count)
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.savez_compressed(file, moves=moves)
    except OSError as error:
        raise UserError(
            f"the cache folder {cache_folder()} cannot be written ({error.strerror}); name another in DEEPSIGHT_CACHE"
        ) from None
    return moves


def cached_at(rules: BoardRules, count: int) -> Path:
    """Return the file in which games are kept, whether it is there or not."""
    key = {"schema": SCHEMA, "game": rules.name, "count": count, "library": rules.library}
    return cache_folder() / "games" / f"{digest_of_json(key)}.npz"


def _stored(path: Path) -> Moves | None:
    """Return the games of a file; None where there is none, or its checksum says that it is damaged."""
    try:
        with np.load(path) as stored:
            moves: Moves = stored["moves"]
            return moves
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _played(rules: BoardRules, count: int) -> Moves:
    random = np.random.RandomState(np.random.MT19937(derive(0, "random games", rules.name)))
    moves = np.full((count, rules.longest), -1, dtype=np.int16)
    with late_bar(f"playing games of {rules.name}", count) as show:
        for start in range(0, count, BLOCK):
            for number, draws in enumerate(random.random_sample((BLOCK, rules.longest)).tolist()[: count - start]):
                game = rules.random_moves(draws)
                moves[start + number, : len(game)] = game
            show(min(start + BLOCK, count))
    return moves[:, : int((moves >= 0).sum(axis=1).max())]
