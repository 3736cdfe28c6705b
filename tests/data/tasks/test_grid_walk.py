"""Walks on a grid: every token of them, what is judged of a player, and what blind players get."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.player import Sequences
from deepsight.data.tasks.grid_walk import GridWalk
from deepsight.data.tasks.sequences import drawn
from deepsight.data.tasks.solver import Solver
from deepsight.errors import UserError
from deepsight.evaluation.player import NetworkPlayer
from deepsight.plug_ins import tasks
from tests.data.tasks.made_up_players import MadeUp, always
from tests.models import ARCHITECTURES, small_model

STEPS = {"N": (-1, 0), "E": (0, 1), "S": (1, 0), "W": (0, -1)}
Cell = tuple[int, int]


def cell(word: str) -> Cell:
    row, column = word.split(",")
    return int(row), int(column)


def legal_at(rows: int, columns: int, place: Cell, goal: Cell) -> set[str]:
    if place == goal:
        return {"end"}
    after = {move: (place[0] + row, place[1] + column) for move, (row, column) in STEPS.items()}
    return {move for move, (row, column) in after.items() if 0 <= row < rows and 0 <= column < columns}


def nearer_at(place: Cell, goal: Cell) -> set[str]:
    before = abs(place[0] - goal[0]) + abs(place[1] - goal[1])
    found = set()
    for move, (row, column) in STEPS.items():
        if abs(place[0] + row - goal[0]) + abs(place[1] + column - goal[1]) < before:
            found.add(move)
    return found


def walked(words: list[str]) -> Cell:
    place = cell(words[0])
    for word in words[2:]:
        row, column = STEPS.get(word, (0, 0))
        place = place[0] + row, place[1] + column
    return place


def judged_one_by_one(task: GridWalk, rows: int, columns: int, walks: Sequences) -> tuple[float, float]:
    legal = judged = valid = 0
    for walk in walks:
        words = [task.words[token] for token in walk]
        goal = cell(words[1])
        for time in range(2, len(words)):
            judged += 1
            if words[time] not in legal_at(rows, columns, walked(words[:time]), goal):
                break
            legal += 1
            if words[time] == "end":
                valid += 1
                break
    return legal / judged, valid / len(walks)


grids = given(
    rows=st.integers(1, 5),
    columns=st.integers(2, 5),
    more=st.integers(0, 6),
    detour=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 99),
)


@grids
def test_every_walk_is_legal_and_arrives_in_time(rows: int, columns: int, more: int, detour: float, seed: int) -> None:
    task = GridWalk(rows, columns, rows + columns - 2 + more, detour)
    walks = task.draw(np.random.RandomState(seed), 40)
    assert walks.shape == (40, task.length)
    counts = task.scored(walks)
    for walk, scored in zip(walks, counts, strict=True):
        words = [task.words[token] for token in walk]
        assert words[0] != words[1]
        end = words.index("end")
        assert walked(words[:end]) == cell(words[1])
        assert set(words[end + 1 :]) <= {"_"}
        assert scored.tolist() == [2 <= time <= end for time in range(len(words))]
        for time in range(2, end + 1):
            place = walked(words[:time])
            assert words[time] in legal_at(rows, columns, place, cell(words[1]))
            if detour == 0 and time < end:
                assert words[time] in nearer_at(place, cell(words[1]))


@grids
def test_the_solver_walks_straight_to_the_goal(rows: int, columns: int, more: int, detour: float, seed: int) -> None:
    task = GridWalk(rows, columns, rows + columns - 2 + more, detour)
    walks = task.draw(np.random.RandomState(seed), 40)
    found = task.measure(Solver(task), walks)
    assert list(found)[:2] == ["legal_moves", "valid_walks"]
    assert found["legal_moves"].value == found["valid_walks"].value == 1.0
    if "compression" in found:
        assert found["compression"].value == 1.0
    assert not {"effective_rank", "probe"} & set(found)
    answers = Solver(task).continued(walks[:, :2], task.answer_length)
    for walk in np.concatenate([walks[:, :2], answers], axis=1):
        start, goal = cell(task.words[walk[0]]), cell(task.words[walk[1]])
        assert (walk != task.padding).sum() == 3 + abs(start[0] - goal[0]) + abs(start[1] - goal[1])


def test_moves_are_drawn_as_told() -> None:
    task = GridWalk(3, 3, longest=30, detour=0.4)
    walks = task.draw(np.random.RandomState(0), 40_000)
    first: dict[tuple[Cell, Cell], Counter[str]] = {}
    for start, goal, move in walks[:, :3]:
        words = task.words[start], task.words[goal], task.words[move]
        first.setdefault((cell(words[0]), cell(words[1])), Counter())[words[2]] += 1
    assert len(first) == 9 * 8
    for (start, goal), moves in first.items():
        count = moves.total()
        assert count == pytest.approx(40_000 / 72, rel=0.2)
        legal, nearer = legal_at(3, 3, start, goal), nearer_at(start, goal)
        for move in STEPS:
            chance = 0.6 * (move in nearer) / len(nearer) + 0.4 * (move in legal) / len(legal)
            assert moves[move] / count == pytest.approx(chance, abs=4.5 * (0.25 / count) ** 0.5)


@given(rows=st.integers(1, 3), columns=st.integers(2, 3), seed=st.integers(0, 99))
def test_what_is_judged_ends_with_the_walk(rows: int, columns: int, seed: int) -> None:
    task = GridWalk(rows, columns, longest=5)
    examples = task.draw(np.random.RandomState(seed), 30)
    chances = np.random.RandomState(seed).dirichlet(np.full(len(task.words), 0.3))
    chances[: task.cells] *= 0.1
    player = MadeUp(lambda prefixes: np.tile(chances / chances.sum(), (len(prefixes), 1)))
    walks = np.concatenate([examples[:, :2], player.continued(examples[:, :2], 6, temperature=1.0)], axis=1)
    legal, valid = judged_one_by_one(task, rows, columns, walks)
    found = task.measure(player, examples)
    assert found["legal_moves"].value == pytest.approx(legal)
    assert found["valid_walks"].value == pytest.approx(valid)


def test_chances_are_those_of_even_draws() -> None:
    task = GridWalk(3, 4, longest=12)
    examples = task.draw(np.random.RandomState(0), 20_000)
    found = task.measure(always(task, *range(task.cells, task.end + 1)), examples)
    assert found["legal_moves"].value == pytest.approx(found["legal_moves"].chance, abs=0.01)
    assert found["valid_walks"].value == pytest.approx(found["valid_walks"].chance, abs=0.005)
    # On two cells: the one legal move, and then the end, each one of five.
    two = GridWalk(1, 2, longest=1)
    assert two.chances(np.array([[0, 1]])) == pytest.approx(((1 / 5 + 1 / 25) / (1 + 1 / 5), 1 / 25))


def test_a_player_that_is_always_wrong_gets_nothing() -> None:
    task = GridWalk()
    found = task.measure(always(task, 0), task.draw(np.random.RandomState(0), 50))
    assert found["legal_moves"].value == found["valid_walks"].value == 0.0


def true_chances(task: GridWalk, prefixes: Sequences, rows: int, columns: int) -> npt.NDArray[Any]:
    """Return what follows in walks that have moves to lose."""
    found = np.zeros((len(prefixes), len(task.words)))
    if prefixes.shape[1] < 2:
        return found
    for row, prefix in enumerate(prefixes):
        words = [task.words[token] for token in prefix]
        place, goal = walked(words), cell(words[1])
        legal, nearer = legal_at(rows, columns, place, goal), nearer_at(place, goal)
        for word in legal:
            straight = (word in nearer) / len(nearer) if nearer else 1.0
            found[row, task.words.index(word)] = (1 - task.detour) * straight + task.detour / len(legal)
    return found


@pytest.mark.parametrize("detour", [0.0, 0.02, 0.5, 1.0])
def test_compression_and_distinction_of_who_knows_the_walks_are_whole(detour: float) -> None:
    task = GridWalk(3, 4, longest=12, detour=detour)
    examples = task.draw(np.random.RandomState(0), 300)
    found = task.measure(MadeUp(lambda prefixes: true_chances(task, prefixes, 3, 4)), examples)
    assert found["compression"].value == found["distinction"].value == 1.0


def test_who_allows_the_same_everywhere_compresses_and_does_not_distinguish() -> None:
    task = GridWalk(3, 4, longest=12)
    examples = task.draw(np.random.RandomState(0), 300)
    found = task.measure(always(task, *range(task.cells, task.end + 1)), examples)
    assert (found["compression"].value, found["distinction"].value) == (1.0, 0.0)
    assert (found["compression"].chance, found["distinction"].chance) == (None, 0.0)


def test_who_counts_tokens_in_place_of_cells_does_not_compress() -> None:
    task = GridWalk(3, 4, longest=12)
    examples = task.draw(np.random.RandomState(0), 60)

    def say(prefixes: Sequences) -> npt.NDArray[Any]:
        return np.tile(np.eye(len(task.words))[task.cells + prefixes.shape[1] % 4], (len(prefixes), 1))

    states: dict[tuple[Cell, Cell], set[tuple[str, ...]]] = {}
    for walk in examples:
        words = [task.words[token] for token in walk]
        goal = cell(words[1])
        for time in range(2, words.index("end") + 1):
            place = walked(words[:time])
            left = 12 + 2 - time - abs(place[0] - goal[0]) - abs(place[1] - goal[1])
            if place == goal or left >= 2:
                states.setdefault((place, goal), set()).add(tuple(words[:time]))
    shares = []
    for prefixes in states.values():
        lengths = [len(prefix) % 4 for prefix in prefixes]
        count = len(lengths)
        same = [lengths[i] == lengths[j] for i in range(count) for j in range(i)]
        shares += [np.mean(same)] if same else []
    assert task.measure(MadeUp(say), examples)["compression"].value == pytest.approx(np.mean(shares))


def positions(task: GridWalk, sequences: Sequences) -> npt.NDArray[np.int64]:
    found = np.zeros(sequences.shape, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        words = [task.words[token] for token in sequence]
        for time in range(2, len(words) + 1):
            place = walked(words[:time])
            found[row, time - 1] = place[0] * 4 + place[1]
    return found


@pytest.mark.parametrize("later", [14, 6])
def test_the_probe_reads_the_position_from_states_that_hold_it(later: int) -> None:
    task = GridWalk(3, 4, longest=12)
    examples = task.draw(np.random.RandomState(0), 1000)

    def know(sequences: Sequences) -> npt.NDArray[np.float32]:
        return np.eye(12, dtype=np.float32)[positions(task, sequences)][:, -later:]

    player = MadeUp(always(task, 0).say, know)
    found = task.measure(player, examples)
    assert found["probe"].value == 1.0
    counts = task.scored(examples)[:, 1:][:, -later:]
    held = know(examples[:, :-1])[counts]
    shares = held.mean(axis=0)
    spread = np.linalg.eigvalsh(np.diag(shares) - np.outer(shares, shares))
    assert found["effective_rank"].value == pytest.approx(spread.sum() ** 2 / (spread**2).sum(), rel=1e-4)
    assert not found["effective_rank"].share
    tested = positions(task, examples[500:, :-1])[:, -later:][counts[500:]]
    assert found["probe"].chance == pytest.approx(Counter(tested.tolist()).most_common(1)[0][1] / len(tested))


def test_states_without_the_position_give_chance() -> None:
    task = GridWalk(3, 4, longest=12)
    examples = task.draw(np.random.RandomState(0), 400)
    noise = np.random.default_rng(0).normal(size=(400, task.length - 1, 8)).astype(np.float32)
    found = task.measure(MadeUp(always(task, 0).say, lambda sequences: noise), examples)
    assert found["probe"].value == pytest.approx(found["probe"].chance, abs=0.05)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, {"name": "canonical", "prefix": 1}])
def test_networks_are_measured(architecture: str | dict[str, Any]) -> None:
    task = GridWalk(3, 3, longest=10)
    model = small_model(architecture, vocabulary=len(task.words))
    found = task.measure(NetworkPlayer(model, 32), task.draw(np.random.RandomState(0), 100))
    assert {"legal_moves", "valid_walks", "compression", "distinction", "effective_rank", "probe"} == set(found)
    assert 1 <= found["effective_rank"].value <= 16
    assert all(0 <= measure.value <= 1 for measure in found.values() if measure.share)


def test_starts_and_goals_that_are_measured_are_never_trained_on() -> None:
    task = GridWalk()
    parts = [drawn(task, 3000, 0, "walks", held_out=held_out)[:, :2] for held_out in (False, True)]
    trained, held_out = ({tuple(pair) for pair in part.tolist()} for part in parts)
    assert len(held_out) > 30
    assert not trained & held_out


def test_a_walk_is_shown_with_arrows() -> None:
    task = GridWalk(3, 3, longest=4)
    words = ["2,0", "1,1", "E", "N", "end", "_", "_"]
    walk = np.array([task.words.index(word) for word in words])
    assert task.rendered(walk) == "2,0 to 1,1: 2,0 → 2,1 ↑ 1,1 end"


def test_words_are_different() -> None:
    task = GridWalk(12, 11, longest=30)
    assert len(set(task.words)) == len(task.words) == 12 * 11 + 6
    assert not any(" " in word for word in task.words)


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        ({"longest": 9}, ("longest",), "give at least 10"),
        ({"rows": 1, "columns": 1}, ("columns",), "give at least 2 columns"),
    ],
)
def test_impossible_walks_are_refused(given: dict[str, int], path: tuple[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        GridWalk(**given)
    assert refused.value.path == path


def test_parameters_are_checked() -> None:
    spec = tasks.resolve("grid_walk")
    assert spec == {"name": "grid_walk", "rows": 6, "columns": 6, "longest": 20, "detour": 0.5, "training_set": None}
    with pytest.raises(UserError):
        tasks.resolve({"name": "grid_walk", "detour": 1.5})
