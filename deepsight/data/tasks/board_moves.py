"""Moves of board games: what may come next depends on a board that is never shown."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.board_rules import BoardRules, Game
from deepsight.data.tasks.played_games import random_games
from deepsight.data.tasks.task import Draws, Measure, Scored, Task, integers
from deepsight.plug_ins import tasks

LENGTHS = {"othello": 65, "connect_four": 44, "tic_tac_toe": 11, "breakthrough": 105}
"""Tokens of a sequence, which hold all games or nearly all."""
SPARE = 2048
"""Games that are played beside half as many again as are trained on, so that enough are held out."""
AT_ONCE = 128
"""Games whose probabilities are looked at together."""
FREE_GAMES = 256
"""Games that a player makes up."""


@tasks.register("board_moves", source="Li et al. (2023), arXiv 2210.13382; rules: Lanctot et al. (2019), OpenSpiel")
class BoardMoves(Task):
    """Say a legal move of a board game, given the moves before it, of which both sides chose each at random.

    A sequence is a beginning, the moves, an end, and padding; a token stands for an action, whoever takes it, and every
    token is one side's turn (in Othello a side that cannot move passes, which is a token too, unlike in Othello-GPT).
    The board, from which alone a legal move follows, is never shown, so a model has to keep one of its own.

    Rules are played move by move, too slowly for every batch: **games are not new at every step**. Half as many games
    again as are trained on, and 2,048 more, are played once, kept in the cache folder, and drawn from. They are the
    same on every machine as long as the library keeps its rules. What is trained on are different games, in an order of
    each epoch's own; whole games tell training from held-out ones, so the first moves are common to both.

    Measures, on held-out games: `legal_moves`, how often the likeliest next token is legal under teacher forcing (a
    move; the end just where the game is over); `legal_mass`, the probability that is on legal tokens. The chance of
    both is that of a token drawn among all actions and the end. `free_games` is the share of games, sampled at
    temperature 1 from the beginning on, that are legal throughout, up to their end or the cut; its chance is that of
    such draws, estimated from the held-out games.

    Args:
        game: which; other sizes than the usual ones are not offered.
        length: tokens of a sequence; longer games are cut. None takes what holds nearly all games: 65 for Othello, 44
            for Connect Four, 11 for tic-tac-toe, 105 for Breakthrough.
        training_set: games to train on. Published: 20 million of Othello, of which a thousand take half a second.

    Raises:
        UserError: OpenSpiel is not installed.

    """

    def __init__(
        self,
        game: Game = "othello",
        length: Annotated[int, Field(ge=3)] | None = None,
        training_set: Annotated[int, Field(ge=1)] = 20_000,
    ) -> None:
        self.rules = BoardRules(game)
        self.training_set = training_set
        self.words = self.rules.words
        self.length = length or LENGTHS[game]
        self.answer_length = self.length - 1
        self.board_shape = self.rules.board_shape
        self._measured: tuple[Sequences, npt.NDArray[np.uint8]] | None = None

    @functools.cached_property
    def games(self) -> npt.NDArray[np.int16]:
        """All the games there are, those held out among them, as sequences, (games, length)."""
        assert self.training_set is not None
        moves = random_games(self.rules, self.training_set * 3 // 2 + SPARE)
        ends = (moves >= 0).sum(axis=1)
        whole = np.full((len(moves), max(self.length, moves.shape[1] + 2)), self.rules.padding, dtype=np.int16)
        whole[:, 0] = self.rules.begin
        whole[:, 1 : moves.shape[1] + 1] = np.where(moves < 0, self.rules.padding, moves)
        whole[np.arange(len(moves)), ends + 1] = self.rules.end
        return np.ascontiguousarray(whole[:, : self.length])

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return some of the games, (count, length)."""
        return self.games[integers(random, count, len(self.games))].astype(np.int64)

    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens are moves or ends."""
        counted: Scored = (sequences != self.rules.begin) & (sequences != self.rules.padding)
        return counted

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return one of the legal next tokens of each prefix; the end after what was not legal."""
        found = np.empty(len(prefixes), dtype=np.int64)
        for row, (prefix, draw) in enumerate(zip(prefixes.tolist(), random.random_sample(len(prefixes)), strict=True)):
            legal = [self.rules.begin]
            for replay in self.rules.replayed(prefix):
                legal = replay.legal or [self.rules.end]
            found[row] = legal[int(draw * len(legal))]
        return found

    def legal(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return which tokens may follow each token, (sequences, time, vocabulary).

        After the end that is padding; after a token that is not legal nothing is.
        """
        return np.stack([self.rules.legal(sequence) for sequence in sequences.tolist()])

    def boards(self, sequences: Sequences) -> npt.NDArray[np.int8]:
        """Return the board after each token, (sequences, time, cells), for probes of what a state knows.

        A cell is 0 where it is empty, 1 with a piece of who moves first, 2 of who moves second; cells go by
        `board_shape`, row after row as the library observes them (Connect Four from the bottom). After the beginning
        comes the board at the start; the last board stays after the end. Who is to move after token t is the first
        player where t is even.

        Raises:
            UserError: a token is not legal.

        """
        return np.stack([self.rules.boards(sequence) for sequence in sequences.tolist()])

    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return how much of what a player says is legal."""
        counted, packed = self.scored(examples)[:, 1:], self._packed_legal(examples)
        guesses = player.predicted(examples[:, :-1])
        right, mass, share = (np.empty(counted.shape) for _ in range(3))
        for start in range(0, len(examples), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            legal = np.unpackbits(packed[rows, :-1], axis=2, count=len(self.words)).astype(np.bool_)
            right[rows] = np.take_along_axis(legal, guesses[rows, :, None], axis=2)[..., 0]
            mass[rows] = np.where(legal, player.probabilities(examples[rows, :-1]), 0).sum(axis=2, dtype=np.float64)
            share[rows] = legal.sum(axis=2) / (self.rules.actions + 1)
        chance = float(share[counted].mean())
        blind = np.where(counted, share, 1).prod(axis=1).mean()
        return {
            "legal_moves": Measure(float(right[counted].mean()), chance),
            # Rounded probabilities may add up to a little more than 1.
            "legal_mass": Measure(min(1.0, float(mass[counted].mean())), chance),
            "free_games": Measure(self._free_games(player, min(len(examples), FREE_GAMES)), float(blind)),
        }

    def rendered(self, sequence: Sequences) -> str:
        """Return the moves as the library writes them, such as ``f5 d6 c3``; a ``?`` is on what is not legal."""
        return " ".join(self.rules.notation(sequence.tolist()))

    def _packed_legal(self, examples: Sequences) -> npt.NDArray[np.uint8]:
        """Return `legal` as bits; what was measured on last is remembered, since it is measured on again."""
        if self._measured is None or not np.array_equal(self._measured[0], examples):
            parts = (examples[start : start + AT_ONCE] for start in range(0, len(examples), AT_ONCE))
            self._measured = examples, np.concatenate([np.packbits(self.legal(part), axis=2) for part in parts])
        return self._measured[1]

    def _free_games(self, player: Player, count: int) -> float:
        begin = np.full((count, 1), self.rules.begin, dtype=np.int64)
        moves = player.continued(begin, self.length - 1, temperature=1.0)
        legal = self.legal(np.concatenate([begin, moves], axis=1))[:, :-1]
        right = np.take_along_axis(legal, moves[..., None], axis=2)[..., 0]
        # Nobody is taught what comes after the end.
        over = np.cumsum(moves == self.rules.end, axis=1) - (moves == self.rules.end) > 0
        return float((right | over).all(axis=1).mean())
