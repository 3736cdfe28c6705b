"""The rules of board games, kept by OpenSpiel (Lanctot et al., 2019, arXiv 1908.09453), as a language of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from deepsight.errors import UserError

Game: TypeAlias = Literal["othello", "connect_four", "tic_tac_toe", "breakthrough"]

# What each plane of the library's observation shows: 0 empty cells, 1 those of who moves first, 2 of who moves second.
_PLANES: dict[str, tuple[int, int, int]] = {
    "othello": (0, 1, 2),
    "connect_four": (1, 2, 0),
    "tic_tac_toe": (0, 2, 1),
    "breakthrough": (1, 2, 0),
}
FRAME = ("begin", "end", "padding")
"""The tokens beside those of the actions, in the order of their ids."""


class BoardRules:
    """One game, whose token ids are those of the library's actions, then begin, end and padding.

    Args:
        game: its name.

    Attributes:
        actions: how many actions there are, on whatever board.
        begin, end, padding: the ids of the other tokens.
        words: the text of each token id; moves without the mark of who makes them.
        longest: moves of the longest game.
        board_shape: rows and columns, as the library observes them.
        library: the version of the library.

    Raises:
        UserError: the library is not installed.

    """

    def __init__(self, game: Game) -> None:
        library = _library()
        self.name, self.library = game, str(library.__version__)
        self._game = library.load_game(game)
        self.actions = int(self._game.num_distinct_actions())
        self.begin, self.end, self.padding = range(self.actions, self.actions + len(FRAME))
        self.words = (*self._action_words(), *FRAME)
        self.longest = int(self._game.max_game_length())
        planes, *shape = self._game.observation_tensor_shape()
        assert planes == len(_PLANES[game])
        self.board_shape = tuple(shape)

    def new_game(self) -> Any:
        """Return the library's state before the first move."""
        return self._game.new_initial_state()

    def random_moves(self, draws: Sequence[float]) -> list[int]:
        """Return the moves of a game in which both sides choose uniformly among the legal ones.

        Args:
            draws: from [0, 1), one for each move; `longest` of them always suffice.

        """
        state, moves = self.new_game(), list[int]()
        for draw in draws:
            legal = state.legal_actions()
            if not legal:
                break
            moves.append(legal[int(draw * len(legal))])
            state.apply_action(moves[-1])
        return moves

    def legal(self, sequence: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return which tokens may follow each token, (time, token ids); none does after one that was not legal."""
        found = np.zeros((len(sequence), len(self.words)), dtype=np.bool_)
        for time, replay in enumerate(self.replayed(sequence)):
            found[time, replay.legal] = True
        return found

    def boards(self, sequence: Sequence[int]) -> npt.NDArray[np.int8]:
        """Return the board after each token, (time, cells): 0 empty, 1 the first player's, 2 the second player's.

        Raises:
            UserError: a token is not legal.

        """
        found = np.zeros((len(sequence), int(np.prod(self.board_shape))), dtype=np.int8)
        meanings = np.array(_PLANES[self.name], dtype=np.int8)
        for time, replay in enumerate(self.replayed(sequence)):
            if not replay.legal:
                raise UserError(f"{self.words[sequence[time]]!r} is no legal token {time} of a game of {self.name}")
            planes = np.array(replay.state.observation_tensor(0)).reshape(len(meanings), -1)
            found[time] = meanings[planes.argmax(axis=0)]
        return found

    def notation(self, sequence: Sequence[int]) -> list[str]:
        """Return the moves as the library writes them; what is not legal, and all after it, is marked with ``?``."""
        replay, found = Replay(self), list[str]()
        for token in sequence:
            if token in replay.legal and token < self.actions:
                found.append(replay.state.action_to_string(token))
            elif token not in replay.legal:
                found.append(f"{self.words[token]}?")
            replay.read(token)
        return found

    def replayed(self, sequence: Sequence[int]) -> Iterator[Replay]:
        """Yield the game after each token; it is one and the same object, to be looked at before the next."""
        replay = Replay(self)
        for token in sequence:
            replay.read(token)
            yield replay

    def _action_words(self) -> list[str]:
        state = self.new_game()
        pairs = [[state.action_to_string(player, action) for player in (0, 1)] for action in range(self.actions)]
        # "x(0,0)" and "o(0,0)" are the same action; "e4" and "e4" are, too.
        return [first if first == second else first[1:] for first, second in pairs]


class Replay:
    """A game that is read token by token.

    Attributes:
        state: the library's, after the last legal token; None before the beginning.
        legal: the tokens that may come next; none after a token that was not legal.

    """

    def __init__(self, rules: BoardRules) -> None:
        self._rules = rules
        self.state: Any = None
        self.legal: list[int] = [rules.begin]

    def read(self, token: int) -> None:
        """Make a move, or begin or end."""
        rules = self._rules
        if token not in self.legal:
            self.legal = []
        elif token in (rules.end, rules.padding):
            self.legal = [rules.padding]
        else:
            if token == rules.begin:
                self.state = rules.new_game()
            else:
                self.state.apply_action(token)
            self.legal = self.state.legal_actions() or [rules.end]


def _library() -> Any:
    try:
        import pyspiel
    except ImportError:
        raise UserError('OpenSpiel, which knows the rules, is not installed: pip install "deepsight[games]"') from None
    return pyspiel
