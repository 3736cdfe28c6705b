"""The task of board games, against rules of tic-tac-toe that are written here by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")

from deepsight.data.player import Sequences
from deepsight.data.tasks.board_moves import BoardMoves
from deepsight.data.tasks.sequences import HeldOut, TaskBatches, distinct, drawn
from deepsight.data.tasks.source import TaskSource
from deepsight.errors import UserError
from deepsight.evaluation.player import NetworkPlayer
from deepsight.plug_ins import tasks
from tests.models import small_model

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
BEGIN, END, PADDING = 9, 10, 11
# How many games of tic-tac-toe there are of each number of moves.
GAMES_OF_LENGTH = {5: 1_440, 6: 5_328, 7: 47_952, 8: 72_576, 9: 127_872}


def is_won(cells: set[int]) -> bool:
    return any(cells.issuperset(line) for line in LINES)


def may_follow(moves: list[int]) -> set[int]:
    """Return which tokens may come after the legal moves of a game of tic-tac-toe that has not been ended yet."""
    over = is_won(set(moves[0::2])) or is_won(set(moves[1::2])) or len(moves) == 9
    return {END} if over else set(range(9)) - set(moves)


def is_legal(tokens: list[int]) -> bool:
    """Say whether tokens after the beginning are a game of tic-tac-toe, up to its end or where it is cut."""
    for place, token in enumerate(tokens):
        if token not in may_follow(tokens[:place]):
            return False
        if token == END:
            return True
    return True


@pytest.fixture(scope="module")
def small() -> BoardMoves:
    return BoardMoves("tic_tac_toe", training_set=2_000)


@pytest.fixture(scope="module")
def examples(small: BoardMoves) -> Sequences:
    return drawn(small, 1_000, 0, "held out", held_out=True)


def random_state(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


class Solver:
    """Plays by asking the task for its next tokens."""

    def __init__(self, task: BoardMoves) -> None:
        self.task, self.random = task, random_state(7)

    def predicted(self, sequences: Sequences) -> Sequences:
        times = range(1, sequences.shape[1] + 1)
        return np.stack([self.task.next_tokens(sequences[:, :time], self.random) for time in times], axis=1)

    def probabilities(self, sequences: Sequences) -> npt.NDArray[np.float32]:
        return np.eye(len(self.task.words), dtype=np.float32)[self.predicted(sequences)]

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        whole = prompts
        for _ in range(count):
            whole = np.concatenate([whole, self.task.next_tokens(whole, self.random)[:, None]], axis=1)
        return whole[:, prompts.shape[1] :]

    def states(self, sequences: Sequences, place: Any) -> None:
        return None


class Blind(Solver):
    """Says any action, or the end, whatever came before."""

    def predicted(self, sequences: Sequences) -> Sequences:
        return self._any(sequences.shape)

    def probabilities(self, sequences: Sequences) -> npt.NDArray[np.float32]:
        choices = np.isin(np.arange(len(self.task.words)), [*range(self.task.rules.actions), self.task.rules.end])
        return np.broadcast_to(choices / choices.sum(), (*sequences.shape, len(choices))).astype(np.float32)

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        return self._any((len(prompts), count))

    def _any(self, shape: tuple[int, ...]) -> Sequences:
        said = self.random.randint(0, self.task.rules.actions + 1, size=shape)
        return np.where(said == self.task.rules.actions, self.task.rules.end, said)


def test_games_are_legal_begin_end_and_are_padded(small: BoardMoves, examples: Sequences) -> None:
    assert examples.shape == (1_000, 11)
    assert examples.dtype == np.int64
    lengths = set()
    for sequence in examples.tolist():
        ended = sequence.index(END)
        assert sequence[0] == BEGIN
        assert set(sequence[ended + 1 :]) <= {PADDING}
        assert is_legal(sequence[1 : ended + 1])
        lengths.add(ended - 1)
    assert lengths == set(GAMES_OF_LENGTH)
    assert small.words == (*(f"({row},{column})" for row in range(3) for column in range(3)), "begin", "end", "padding")


def test_moves_and_end_are_scored(small: BoardMoves, examples: Sequences) -> None:
    assert (small.scored(examples) == (examples <= END) & (examples != BEGIN)).all()
    assert small.answer_length == small.scored(examples).sum(axis=1).max()


def test_the_legal_tokens_are_those_of_the_rules(small: BoardMoves, examples: Sequences) -> None:
    legal = small.legal(examples)
    for sequence, found in zip(examples.tolist(), legal, strict=True):
        ended = sequence.index(END)
        for time in range(ended):
            assert set(np.flatnonzero(found[time])) == may_follow(sequence[1 : time + 1])
        for time in range(ended, len(sequence)):
            assert set(np.flatnonzero(found[time])) == {PADDING}


def test_nothing_is_legal_after_what_was_not(small: BoardMoves) -> None:
    legal = small.legal(np.array([[BEGIN, 4, 4, 0], [BEGIN, END, PADDING, PADDING], [4, 0, 1, 2]]))
    assert legal.any(axis=2).tolist() == [[True, True, False, False], [True, False, False, False], [False] * 4]


def test_both_sides_choose_uniformly(small: BoardMoves) -> None:
    games = small.games
    first = np.bincount(games[:, 1], minlength=9) / len(games)
    assert np.abs(first - 1 / 9).max() < 5 * (1 / 9 / len(games)) ** 0.5
    lengths = (games < BEGIN).sum(axis=1)
    for length, count in GAMES_OF_LENGTH.items():
        chance = count / np.prod(np.arange(9, 9 - length, -1))
        assert (lengths == length).mean() == pytest.approx(chance, abs=5 * (chance / len(games)) ** 0.5)


def test_the_boards_are_those_of_the_moves(small: BoardMoves, examples: Sequences) -> None:
    boards = small.boards(examples)
    assert boards.shape == (1_000, 11, 9)
    assert small.board_shape == (3, 3)
    for sequence, found in zip(examples.tolist(), boards, strict=True):
        board = [0] * 9
        for time, token in enumerate(sequence):
            if token < BEGIN:
                board[token] = 2 - time % 2
            assert found[time].tolist() == board


def test_a_board_after_an_illegal_move_is_refused(small: BoardMoves) -> None:
    with pytest.raises(UserError, match=r"'\(1,1\)' is no legal token 2 of a game of tic_tac_toe"):
        small.boards(np.array([[BEGIN, 4, 4]]))


def test_the_solver_is_always_legal(small: BoardMoves, examples: Sequences) -> None:
    found = small.measure(Solver(small), examples[:100])
    assert list(found) == ["legal_moves", "legal_mass", "free_games"]
    assert [measure.value for measure in found.values()] == [1, 1, 1]


def test_the_solver_chooses_among_all_legal_moves(small: BoardMoves) -> None:
    prefixes = np.tile([BEGIN, 4, 0], (2_000, 1))
    chosen = np.bincount(small.next_tokens(prefixes, random_state()), minlength=12)
    assert set(np.flatnonzero(chosen)) == {1, 2, 3, 5, 6, 7, 8}
    assert np.abs(chosen[chosen > 0] / 2_000 - 1 / 7).max() < 0.04
    assert small.next_tokens(prefixes[:3, :0], random_state()).tolist() == [BEGIN] * 3


def test_chance_is_what_blind_guesses_reach(small: BoardMoves, examples: Sequences) -> None:
    found = small.measure(Blind(small), examples)
    shares = [
        len(may_follow(sequence[1 : time + 1])) / 10
        for sequence in examples.tolist()
        for time in range(sequence.index(END))
    ]
    assert found["legal_moves"].chance == pytest.approx(np.mean(shares))
    assert found["legal_moves"].value == pytest.approx(np.mean(shares), abs=0.03)
    assert found["legal_mass"].value == pytest.approx(np.mean(shares))
    # A game of T moves and an end is guessed with chance 10^-(T + 1).
    guessed = sum(count / 10 ** (length + 1) for length, count in GAMES_OF_LENGTH.items())
    assert found["free_games"].chance == pytest.approx(guessed, rel=0.25)
    assert found["free_games"].value < 0.03


def test_measures_count_every_position_alike(small: BoardMoves) -> None:
    game = np.array([[BEGIN, 0, 3, 1, 4, 2, END, PADDING, PADDING, PADDING, PADDING]])

    class SaysTwo(Blind):
        def predicted(self, sequences: Sequences) -> Sequences:
            return np.full(sequences.shape, 2)

    # Cell 2 is free before each of the five moves, and no end.
    assert small.measure(SaysTwo(small), game)["legal_moves"].value == pytest.approx(5 / 6)


def test_free_games_count_up_to_their_end(small: BoardMoves, examples: Sequences) -> None:
    won = [0, 3, 1, 4, 2]
    games = [
        [*won, END, 7, 7, BEGIN, END],  # whatever comes after the end
        [0, 1, 2, 3, 5, 4, 6, 8, 7, END],
        [*won, 5, 6, END, PADDING, PADDING],  # goes on after three in a row
        [*won[:4], END, *[PADDING] * 5],  # too early
        [0, 0, *[END] * 8],
        [BEGIN, *won, END, *[PADDING] * 3],
    ]
    assert [is_legal(game) for game in games] == [True, True, False, False, False, False]

    class Plays(Blind):
        def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
            assert temperature == 1
            assert (prompts == BEGIN).all()
            assert prompts.shape == (6, 1)
            assert count == 10
            return np.array(games)

    assert small.measure(Plays(small), examples[:6])["free_games"].value == pytest.approx(2 / 6)


def test_a_network_is_measured(small: BoardMoves, examples: Sequences) -> None:
    model = small_model(vocabulary=12, context=10)
    found = small.measure(NetworkPlayer(model, batch_size=64), examples[:200])
    assert all(0 <= measure.value <= 1 for measure in found.values())
    # It has learned nothing; padding and beginning take their part of the probability.
    assert found["legal_mass"].value == pytest.approx(found["legal_mass"].chance * 10 / 12, rel=0.1)


def test_other_examples_are_measured_by_their_own_rules(small: BoardMoves, examples: Sequences) -> None:
    for part in (examples[:50], examples[50:150], examples[:50]):
        assert small.measure(Solver(small), part)["legal_moves"].value == 1


@given(length=st.integers(3, 16), count=st.integers(1, 40))
def test_games_are_cut_or_padded_to_the_length(small: BoardMoves, length: int, count: int) -> None:
    task = BoardMoves("tic_tac_toe", length=length, training_set=2_000)
    sequences = task.draw(random_state(3), count)
    whole = small.draw(random_state(3), count)
    assert sequences.shape == (count, length)
    common = min(length, 11)
    assert (sequences[:, :common] == whole[:, :common]).all()
    assert (sequences[:, 11:] == PADDING).all()
    assert all(is_legal(sequence[1:]) for sequence in sequences.tolist())


def test_a_cut_game_needs_no_end() -> None:
    task = BoardMoves("tic_tac_toe", length=5, training_set=200)
    held_out = drawn(task, 100, 0, "held out", held_out=True)
    assert (held_out < BEGIN).sum(axis=1).tolist() == [4] * 100
    assert task.measure(Solver(task), held_out)["free_games"].value == 1


def test_training_and_held_out_games_are_different(small: BoardMoves) -> None:
    batches, held_out = TaskBatches(small, batch_size=64, seed=1), HeldOut(small, count=1_024)
    trained = batches.training_set
    assert trained is not None
    assert trained.shape == (2_000, 11)
    assert len(np.unique(trained, axis=0)) == 2_000
    assert {row.tobytes() for row in trained}.isdisjoint(row.tobytes() for row in held_out.examples)
    assert len({row.tobytes() for row in held_out.examples}) > 150
    keys = small.keys(held_out.examples)
    assert len(np.unique(keys)) == len(np.unique(held_out.examples, axis=0))
    assert set(trained[:, 1]) == set(held_out.examples[:, 1])


def test_more_different_games_than_there_are_is_one_sentence() -> None:
    task = BoardMoves("tic_tac_toe", length=3, training_set=200)
    # Two moves: 9 times 8 games.
    with pytest.raises(UserError, match=r"training_set: there are only about 6\d different sequences to train on"):
        distinct(task, 200, 0)


def test_moves_are_written_as_the_library_does(small: BoardMoves) -> None:
    assert small.rendered(np.array([BEGIN, 4, 0, 8, END, PADDING])) == "x(1,1) o(0,0) x(2,2) end? padding?"
    won = np.array([BEGIN, 0, 3, 1, 4, 2, END, PADDING])
    assert small.rendered(won) == "x(0,0) o(1,0) x(0,1) o(1,1) x(0,2)"


def test_a_run_may_learn_it() -> None:
    source = TaskSource(tasks.resolve({"name": "board_moves", "game": "tic_tac_toe", "training_set": 300}))
    batch = source.batches(context=10, batch_size=8, seed=0)(0)
    assert batch.inputs.shape == batch.targets.shape == (8, 10)
    assert source.describe() == (
        "board_moves: sequences of 11 tokens, 12 token ids, 300 sequences to train on, one in 16 of the kinds held out"
    )
    with pytest.raises(UserError, match=r"game: .*othello"):
        tasks.resolve({"name": "board_moves", "game": "chess"})
