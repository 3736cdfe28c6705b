"""The probe of boards: against boards drawn by hand, counts made one by one, and states that hold the board."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")

from deepsight.data.tasks.board_moves import BoardMoves
from deepsight.evaluation.probes import board as module
from deepsight.evaluation.probes.asking import obstacle
from deepsight.evaluation.probes.board import Board
from deepsight.evaluation.probes.board_positions import BoardPositions, board_positions, contents_ahead
from deepsight.evaluation.probes.board_reading import read_cells, whitened
from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN
from deepsight.evaluation.probes.probe import Subject
from deepsight.plug_ins import probes
from deepsight.trace import IGNORED
from tests.deepsight.evaluation.probes.subjects import random_text, subject_of, task_subject

NOTHING = {"corpus": None, "tokenizer": None, "validation_fraction": None}
BEGIN, END, PADDING = 9, 10, 11


def game_subject(game: str = "tic_tac_toe", **changes: Any) -> Subject:
    data = {**NOTHING, "task": {"name": "board_moves", "game": game, "training_set": 1500}}
    return task_subject(data=data, **{"model__context": 10, **changes})


@pytest.fixture(scope="module")
def subject() -> Subject:
    return game_subject()


@pytest.fixture(scope="module")
def positions(subject: Subject) -> BoardPositions:
    return positions_of(subject, 2)


def positions_of(subject: Subject, plies: int, games: int = 150) -> BoardPositions:
    task = subject.source.task  # type: ignore[attr-defined]
    return board_positions(subject, task, plies, games)


def test_boards_are_those_drawn_by_hand() -> None:
    """x in the middle, o in a corner, x above the middle, o below it, x at the right."""
    game = np.array([[BEGIN, 4, 0, 1, 7, 5, END, PADDING]])
    boards = np.array([[
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0, 0, 0],
        [2, 0, 0, 0, 1, 0, 0, 0, 0],
        [2, 1, 0, 0, 1, 0, 0, 0, 0],
        [2, 1, 0, 0, 1, 0, 0, 2, 0],
        [2, 1, 0, 0, 1, 1, 0, 2, 0],
        [2, 1, 0, 0, 1, 1, 0, 2, 0],
        [2, 1, 0, 0, 1, 1, 0, 2, 0],
    ]], dtype=np.int8)  # fmt: skip
    (found,) = contents_ahead(boards, game < 9, plies=2)
    # After two moves x is to move: its piece is mine.
    assert found[2, 0].tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0]
    # One move later there is another of mine; who looks is x still.
    assert found[2, 1].tolist() == [2, 1, 0, 0, 1, 0, 0, 0, 0]
    assert found[2, 2].tolist() == [2, 1, 0, 0, 1, 0, 0, 2, 0]
    # After three o is to move.
    assert found[3, 0].tolist() == [1, 2, 0, 0, 2, 0, 0, 0, 0]
    assert found[3, 2].tolist() == [1, 2, 0, 0, 2, 2, 0, 1, 0]
    # The game ends with the fifth move.
    assert found[4, 1].tolist() == [2, 1, 0, 0, 1, 1, 0, 2, 0]
    assert set(found[4, 2].tolist()) == set(found[5, 1].tolist()) == set(found[6, 0].tolist()) == {IGNORED}
    assert found[5, 0].tolist() == [1, 2, 0, 0, 2, 2, 0, 1, 0]


@given(
    games=st.integers(1, 3), length=st.integers(1, 7), cells=st.integers(1, 3), plies=st.integers(0, 8),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_contents_are_those_looked_up_one_by_one(games: int, length: int, cells: int, plies: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    boards = generator.integers(0, 3, (games, length, cells)).astype(np.int8)
    moves = generator.random((games, length)) < 0.7
    found = contents_ahead(boards, moves, plies)
    for game, time, ahead, cell in np.ndindex(found.shape):
        expected = IGNORED
        if time + ahead < length and moves[game, time + ahead]:
            piece = boards[game, time + ahead, cell]
            mover = 1 if time % 2 == 0 else 2
            expected = 0 if piece == 0 else 1 if piece == mover else 2
        assert found[game, time, ahead, cell] == expected


def test_positions_are_those_after_moves_of_different_games(subject: Subject, positions: BoardPositions) -> None:
    task = subject.source.task  # type: ignore[attr-defined]
    drawn = subject.source.windows(context=10, count=150).examples  # type: ignore[attr-defined]
    games = list({tuple(game): None for game in drawn.tolist()})
    assert 50 < len(games) < 150
    expected = [(number, time) for number, game in enumerate(games) for time in range(1, 10) if game[time] < BEGIN]
    assert list(zip(positions.games.tolist(), positions.plies.tolist(), strict=True)) == expected
    for (number, time), now in zip(expected, positions.contents[0], strict=True):
        pieces = {cell: at % 2 for at, cell in enumerate(games[number][1 : time + 1])}
        seen = [0 if cell not in pieces else 1 if pieces[cell] == time % 2 else 2 for cell in range(9)]
        assert now.tolist() == [seen[_cell(task, cell)] for cell in range(9)]
    # A game is in one part; all parts are there; nothing depends on the run's seed.
    parts = {int(game): set(positions.parts[positions.games == game].tolist()) for game in positions.games}
    assert {len(part) for part in parts.values()} == {1}
    assert set.union(*parts.values()) == {TRAIN, SELECT, TEST}
    other = positions_of(game_subject(seed=3), 2)
    assert torch.equal(other.parts, positions.parts)
    assert torch.equal(other.contents[2], positions.contents[2])


def _cell(task: BoardMoves, cell: int) -> int:
    """The library's cells of tic-tac-toe are its actions."""
    assert task.board_shape == (3, 3)
    return cell


@pytest.mark.parametrize("place", ["encoder", "bridge", "decoder", {"layer": 2}], ids=str)
def test_states_are_those_of_one_game_at_a_time(subject: Subject, positions: BoardPositions, place: Any) -> None:
    found = positions.states(subject.model, place, lambda: None)
    assert len(found) == len(positions.plies)
    drawn = subject.source.windows(context=10, count=150).examples  # type: ignore[attr-defined]
    games = list({tuple(game): None for game in drawn.tolist()})
    with torch.no_grad():
        for row in range(0, len(found), 37):
            tokens = torch.tensor([games[int(positions.games[row])][: int(positions.plies[row]) + 1]])
            states = subject.model.states(subject.model.embedding(tokens))
            bridge = subject.model.bridge(states.encoder_output)  # type: ignore[operator]
            state = bridge if place == "bridge" else states.at(place)
            torch.testing.assert_close(found[row], state[0, -1], rtol=1e-3, atol=1e-4)


def parts_of(count: int) -> Tensor:
    return torch.tensor([TRAIN, TRAIN, TRAIN, SELECT, TEST]).repeat(count // 5 + 1)[:count]


def test_what_a_line_tells_is_read_also_where_one_content_lies_between_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    contents = torch.randint(3, (2000, 4), generator=generator)
    # Theirs, empty, mine along one direction; with another scale and much beside it.
    along = torch.tensor([0.0, 1.0, -1.0])[contents] * 1e-2
    states = torch.cat([along, torch.randn(2000, 6, generator=generator)], dim=1)
    states = states @ torch.randn(10, 10, generator=generator)
    said = read_cells(states, contents, parts_of(2000), 3, 0, lambda: None)
    truth = contents[parts_of(2000) == TEST]
    assert (said == truth).double().mean() > 0.97


def test_states_that_tell_nothing_give_what_is_most_frequent() -> None:
    generator = torch.Generator().manual_seed(1)
    contents = (torch.rand(1500, 5, generator=generator) < 0.25).long() * 2
    contents[:, 4] = 1
    contents[::7, 3] = IGNORED
    states = torch.randn(1500, 300, generator=generator)
    calls: list[int] = []
    said = read_cells(states, contents, parts_of(1500), 3, 0, lambda: calls.append(1))
    assert calls
    assert (said == torch.tensor([0, 0, 0, 0, 1])).double().mean() > 0.97
    again = read_cells(states, contents, parts_of(1500), 3, 0, lambda: None)
    assert torch.equal(said, again)


def test_whitened_states_vary_alike_in_all_directions_of_the_training_part() -> None:
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(4000, 5, generator=generator) @ torch.randn(5, 5, generator=generator) + 3
    states = torch.cat([states, torch.full((4000, 1), 2.0)], dim=1)
    training = torch.arange(4000) < 3000
    found = whitened(states, training)[training].double()
    covariance = torch.cov(found.T)
    values = torch.linalg.eigvalsh(covariance)
    torch.testing.assert_close(values[1:], torch.ones(5, dtype=torch.double), rtol=2e-2, atol=2e-2)
    assert values[0].abs() < 1e-6
    assert found.mean(dim=0).abs().max() < 1e-3


def seeing(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trained network's states hold the present board, and those of the untrained one nothing."""

    def states(self: BoardPositions, model: Any, place: Any, alive: Any) -> Tensor:
        alive()
        if model is subject.model:
            return F.one_hot(self.contents[0], 3).flatten(1).float()
        return torch.randn(len(self.plies), 16, generator=torch.Generator().manual_seed(3))

    monkeypatch.setattr(BoardPositions, "states", states)


def test_a_state_that_holds_the_board_is_found_and_its_look_ahead_is_none(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeing(subject, monkeypatch)
    tables = Board(n=2, places=["encoder"], games=150).run(subject, lambda: None)
    now, one, two = tables["states"]
    controls = {(row["control"], row["ahead"]): row for row in tables["controls"]}
    assert now["accuracy"] > 0.995
    assert now["accuracy_changed"] is now["above_unchanged"] is now["above_present"] is None
    blind = max(controls[name, 0]["accuracy"] for name in ("majority", "ply", "untrained"))
    assert now["gain"] == pytest.approx(now["accuracy"] - blind)
    assert now["gain"] > 0.3
    for row in (one, two):
        assert abs(row["above_present"]) < 0.02
        assert row["above_unchanged"] < 0.03
        assert row["above_unchanged"] == pytest.approx(
            row["accuracy"] - controls["unchanged", row["ahead"]]["accuracy"]
        )
        assert controls["unchanged", row["ahead"]]["accuracy_changed"] == 0.0
    assert {row["control"] for row in tables["controls"]} == {"majority", "ply", "unchanged", "present", "untrained"}


def test_controls_and_accuracies_are_those_counted_one_by_one(
    subject: Subject, positions: BoardPositions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_cells", lambda states, contents, parts, *_: contents[parts == TEST] * 0 + 1)
    tables = Board(n=2, places=["decoder"], games=150).run(subject, lambda: None)
    plies = positions.plies.tolist()
    train, test = ((positions.parts == part).nonzero()[:, 0].tolist() for part in (TRAIN, TEST))
    for ahead in (0, 1, 2):
        contents, now = positions.contents[ahead].tolist(), positions.contents[0].tolist()
        counts: dict[str, list[bool]] = {name: [] for name in ("majority", "ply", "unchanged", "read", "changed")}
        for cell in range(9):
            held = Counter(contents[row][cell] for row in train if contents[row][cell] != IGNORED)
            usual = min(held, key=lambda content: (-held[content], content))
            for row in test:
                truth = contents[row][cell]
                if truth == IGNORED:
                    continue
                after = Counter(kept for other in train if plies[other] == plies[row]
                                if (kept := contents[other][cell]) != IGNORED)  # fmt: skip
                by_ply = min(after, key=lambda content: (-after[content], content)) if after else usual
                for name, said in (("majority", usual), ("ply", by_ply), ("unchanged", now[row][cell]), ("read", 1)):
                    counts[name].append(said == truth)
                if truth != now[row][cell]:
                    counts["changed"].append(truth == 1)
        found = {row["control"]: row["accuracy"] for row in tables["controls"] if row["ahead"] == ahead}
        for name in ("majority", "ply") + (("unchanged",) if ahead else ()):
            assert found[name] == pytest.approx(np.mean(counts[name])), (name, ahead)
        row = tables["states"][ahead]
        assert (row["place"], row["ahead"], row["cells"]) == ("decoder", ahead, 9)
        assert row["accuracy"] == pytest.approx(np.mean(counts["read"]))
        assert row["positions"] * 9 == len(counts["read"])
        if ahead:
            assert row["accuracy_changed"] == pytest.approx(np.mean(counts["changed"]))


def test_cells_are_counted_one_by_one_and_constant_ones_are_left_out(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeing(subject, monkeypatch)
    original = module.board_positions

    def with_a_wall(*arguments: Any) -> BoardPositions:
        found: BoardPositions = original(*arguments)
        for contents in found.contents:
            contents[:, 4] = torch.where(contents[:, 4] == IGNORED, IGNORED, 2)
        return found

    monkeypatch.setattr(module, "board_positions", with_a_wall)
    tables = Board(n=1, places=["encoder", {"layer": 1}], games=150).run(subject, lambda: None)
    cells = [row for row in tables["cells"] if (row["place"], row["ahead"]) == ("encoder", 0)]
    assert [(row["row"], row["column"]) for row in cells] == [(at // 3, at % 3) for at in range(9)]
    assert [row["counted"] for row in cells] == [at != 4 for at in range(9)]
    assert (cells[4]["accuracy"], cells[4]["majority"]) == (1.0, 1.0)
    now = tables["states"][0]
    assert now["cells"] == 8
    assert now["accuracy"] == pytest.approx(np.mean([row["accuracy"] for row in cells if row["counted"]]))
    majority = next(row["accuracy"] for row in tables["controls"] if row["control"] == "majority")
    assert majority == pytest.approx(np.mean([row["majority"] for row in cells if row["counted"]]))
    assert len(tables["cells"]) == 2 * 2 * 9


def test_it_is_the_same_each_time_and_all_of_it_is_plain(subject: Subject) -> None:
    calls: list[int] = []
    tables = Board(n=1, games=60).run(subject, lambda: calls.append(1))
    assert len(calls) > 10
    assert tables == Board(n=1, games=60).run(subject, lambda: None)
    json.dumps(tables, allow_nan=False)
    places = ["layer 1", "encoder", "bridge", "layer 2", "decoder"]
    assert [row["place"] for row in tables["states"]][::2] == places
    (about,) = tables["examples"]
    games = sum(about[f"{part}_games"] for part in ("train", "select", "test"))
    assert len(positions_of(subject, 1, 60).games.unique()) == games
    assert about["test_positions"] == tables["states"][0]["positions"]


def test_boards_further_ahead_than_games_last_are_left_out(subject: Subject) -> None:
    tables = Board(n=40, places=["decoder"], games=60).run(subject, lambda: None)
    assert [row["ahead"] for row in tables["states"]] == list(range(9))
    json.dumps(tables, allow_nan=False)


def test_other_runs_and_places_are_refused() -> None:
    assert probes["board"].factory is Board
    sentence = "this run did not learn the task board_moves, and only such a run has a board that could be read"
    for other in (task_subject(), subject_of(random_text(400), random_text(400))):
        assert obstacle(probes.resolve("board"), other) == sentence
    subject = game_subject(model__architecture="baseline")
    assert obstacle(probes.resolve("board"), subject) is None
    assert obstacle(probes.resolve({"name": "board", "places": ["bridge"]}), subject) == (
        "places.0: the architecture baseline has no bridge"
    )


def test_too_few_games_are_a_sentence(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"^games: there are 2 held-out games, and a probe is trained and measured on"):
        positions_of(subject, 1, games=2)
