"""The library's games: Othello against rules that are written here by hand, the others against what it prints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")

from deepsight.data.tasks.board_moves import LENGTHS, BoardMoves


def flipped(board: dict[tuple[int, int], int], cell: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Return which pieces a move of Othello turns over."""
    if board.get(cell) != 0:
        return []
    found = []
    for step in [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column]:
        line, at = list[tuple[int, int]](), (cell[0] + step[0], cell[1] + step[1])
        while board.get(at) == 3 - side:
            line.append(at)
            at = (at[0] + step[0], at[1] + step[1])
        found.extend(line if board.get(at) == side else [])
    return found


def test_othello_is_played_by_its_rules() -> None:
    task = BoardMoves("othello", training_set=1)
    sequences = task.games[:24].astype(np.int64)
    passes = 0
    for sequence, boards, legal in zip(sequences.tolist(), task.boards(sequences), task.legal(sequences), strict=True):
        board = dict.fromkeys(np.ndindex(8, 8), 0) | {(3, 3): 2, (3, 4): 1, (4, 3): 1, (4, 4): 2}
        for time, token in enumerate(sequence[: sequence.index(task.rules.end)]):
            if token < 64:
                side, cell = 2 - time % 2, (token // 8, token % 8)
                for at in [*flipped(board, cell, side), cell]:
                    board[at] = side
            assert boards[time].tolist() == list(board.values())
            able = {side: {cell for cell in board if flipped(board, cell, side)} for side in (1, 2)}
            mover = 1 + time % 2
            may = {8 * row + column for row, column in able[mover]} or ({64} if able[3 - mover] else {task.rules.end})
            assert set(np.flatnonzero(legal[time])) == may
            passes += may == {64}
    assert passes > 0


@pytest.mark.parametrize(("game", "signs"), [("connect_four", ".xo"), ("breakthrough", ".bw")])
def test_boards_are_what_the_library_prints(game: Any, signs: str) -> None:
    task = BoardMoves(game, training_set=1)
    sequence = next(row for row in task.games if row[-1] >= task.rules.end).astype(np.int64)
    boards = task.boards(sequence[None])[0].reshape(-1, *task.board_shape)
    state = task.rules.new_game()
    for token, board in zip(sequence[1:], boards[1:], strict=True):
        if token < task.rules.actions:
            state.apply_action(int(token))
        rows = [[sign for sign in line if sign in signs] for line in str(state).split("\n")]
        rows = [row for row in rows if len(row) >= task.board_shape[1]]
        # The letters of Breakthrough's columns hold a b, too.
        printed = [[signs.index(sign) for sign in row] for row in rows][:: -1 if game == "connect_four" else 1]
        assert board.tolist() == printed


FIRST = {
    "othello": "c4 e3 f5 c5 b5 g6 c3 b6 b7 c2 f3 e6",
    "connect_four": "x1 o1 x3 o2 x6 o6 x1 o4 x0 o2 x2 o2",
    "tic_tac_toe": "x(1,0) o(2,2) x(2,1) o(0,2) x(2,0) o(1,2)",
    "breakthrough": "f7g6 h2h3 b7a6 e2d3 g6h5 h1h2 h5h4 a2b3 g7f6 b3b4 c7d6 b4c5",
}


@pytest.mark.parametrize("game", FIRST)
def test_the_games_stay_what_they_are(game: Any) -> None:
    # Where this fails, equal parameters give other games: raise BoardMoves.version.
    task = BoardMoves(game, training_set=1)
    assert task.rendered(task.games[5]).startswith(FIRST[game])
    assert (task.games == task.rules.end).any(axis=1).mean() > 0.99
    assert len(set(task.words)) == len(task.words) == task.rules.actions + 3
    assert not any(" " in word for word in task.words)
    assert task.length == task.games.shape[1] == LENGTHS[game]
