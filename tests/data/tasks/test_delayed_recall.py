"""Delayed recall: what tells of what, token by token, and what players that know less get."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.player import Sequences
from deepsight.data.tasks.delayed_recall import DelayedRecall
from deepsight.data.tasks.sequences import drawn
from deepsight.data.tasks.solver import Solver
from deepsight.errors import UserError
from deepsight.plug_ins import tasks
from tests.data.tasks.made_up_players import MadeUp, always

languages = given(
    delay=st.integers(1, 9),
    cues=st.integers(2, 5),
    fillers=st.integers(1, 4),
    rate=st.sampled_from([0.05, 0.5, 1.0]),
    more=st.integers(1, 20),
    seed=st.integers(0, 99),
)


@languages
def test_payloads_come_after_their_cues_and_nowhere_else(
    delay: int, cues: int, fillers: int, rate: float, more: int, seed: int
) -> None:
    task = DelayedRecall(delay, cues, fillers, rate, delay + more)
    sequences = task.draw(np.random.RandomState(seed), 20)
    assert sequences.shape == (20, task.length)
    for sequence in sequences:
        words = [task.words[token] for token in sequence]
        for time, word in enumerate(words):
            before = words[time - delay] if time >= delay else "-"
            if before.startswith("a"):
                assert word == f"b{before[1:]}"
            else:
                assert word[0] in ("a" if rate == 1 else "ac")
    judged = task.is_payload(sequences)
    assert judged.tolist() == [[task.words[token].startswith("b") for token in sequence] for sequence in sequences]


@languages
def test_the_solver_recalls_every_payload(
    delay: int, cues: int, fillers: int, rate: float, more: int, seed: int
) -> None:
    task = DelayedRecall(delay, cues, fillers, rate, delay + more)
    found = task.measure(Solver(task), task.draw(np.random.RandomState(seed), 20))
    assert [measure.value for measure in found.values()] in ([], [1.0, 1.0])
    said = Solver(task).continued(np.zeros((5, 1), dtype=np.int64), task.length - 1)
    words = [[task.words[token] for token in [0, *sequence]] for sequence in said]
    for sequence in words:
        for time, word in enumerate(sequence):
            due = time >= delay and sequence[time - delay].startswith("a")
            assert word.startswith("b") == due


def test_cues_and_fillers_are_drawn_evenly_at_their_rate() -> None:
    task = DelayedRecall(delay=4, cues=3, fillers=2, rate=0.4, length=5)
    first = task.draw(np.random.RandomState(0), 40_000)[:, :4]
    shares = np.bincount(first.ravel(), minlength=8) / first.size
    assert shares == pytest.approx([0.4 / 3] * 3 + [0] * 3 + [0.3] * 2, abs=0.005)


def information(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Return the mutual information of two columns, in nats."""
    joint = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(joint, (one, other), 1 / len(one))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    return float((joint[joint > 0] * np.log(joint[joint > 0] / apart[joint > 0])).sum())


def entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share)


def test_only_tokens_one_delay_apart_tell_of_each_other() -> None:
    task = DelayedRecall(delay=3, cues=2, fillers=2, rate=0.4, length=12)
    sequences = task.draw(np.random.RandomState(0), 60_000)
    kinds = np.array([0, 0, 1, 1, 2, 2])[sequences]
    # Of 25 free cells, chance alone makes about 25 / (2 · 60,000) nats.
    nothing = 0.001
    # Tokens 3 … 5 are payloads where the first three were cues.
    cue, payload = 0.4 * (1 - 0.4), 0.4
    fresh = [0.2, 0.2, 0.3, 0.3]
    for time in (3, 4, 5):
        found = {k: information(sequences[:, time], sequences[:, time + k]) for k in range(1, 7)}
        later = [cue / 2] * 2 + [(1 - cue) * share for share in fresh]
        assert found[3] == pytest.approx(entropy(later) - (1 - cue) * entropy(fresh), abs=0.01)
        assert found[3] > 0.5
        assert max(found[k] for k in (1, 2, 4, 5)) < nothing
        # Two delays on, the kind of token is a little less free, and nothing else.
        assert found[6] == pytest.approx(information(kinds[:, time], kinds[:, time + 6]), abs=nothing)
        assert nothing < found[6] < found[3] / 5
        assert (kinds[:, time] == 1).mean() == pytest.approx(payload, abs=0.01)


def test_chance_is_what_one_gets_who_says_any_payload() -> None:
    task = DelayedRecall()
    examples = task.draw(np.random.RandomState(0), 1000)
    random = np.random.RandomState(1)
    found = task.measure(MadeUp(lambda prefixes: random.random_sample((len(prefixes), 24))), examples)
    assert found["recall"].value == pytest.approx(found["recall"].chance, abs=0.015)
    assert found["recall"].chance == 1 / 8
    assert list(found) == ["recall", "recall_among_all"]


@given(rate=st.sampled_from([0.1, 0.5, 0.9]), delay=st.integers(1, 6), fillers=st.integers(1, 30))
def test_the_most_frequent_token_is_no_payload(rate: float, delay: int, fillers: int) -> None:
    task = DelayedRecall(delay=delay, cues=2, fillers=fillers, rate=rate, length=8)
    examples = task.draw(np.random.RandomState(0), 4000)
    most_frequent = int(np.bincount(examples.ravel()).argmax())
    found = task.measure(always(task, most_frequent), examples)["recall_among_all"]
    assert found.value == found.chance == 0.0


def test_who_is_always_one_off_recalls_nothing() -> None:
    task = DelayedRecall(delay=3, cues=4, length=20)

    def say(prefixes: Sequences) -> npt.NDArray[Any]:
        before = prefixes[:, max(0, prefixes.shape[1] - 3)]
        return np.eye(len(task.words))[4 + (before + 1) % 4]

    found = task.measure(MadeUp(say), task.draw(np.random.RandomState(0), 200))
    assert found["recall"].value == found["recall_among_all"].value == 0.0


def test_the_choice_among_payloads_counts_where_another_token_is_likelier() -> None:
    task = DelayedRecall(delay=3, cues=4, length=20)

    def say(prefixes: Sequences) -> npt.NDArray[Any]:
        before = prefixes[:, max(0, prefixes.shape[1] - 3)]
        chances = 0.3 * np.eye(len(task.words))[4 + before % 4]
        chances[:, -1] += 0.7
        return chances

    found = task.measure(MadeUp(say), task.draw(np.random.RandomState(0), 200))
    assert (found["recall"].value, found["recall_among_all"].value) == (1.0, 0.0)


def test_whole_sequences_are_held_out() -> None:
    task = DelayedRecall(delay=2, cues=2, fillers=1, length=7)
    trained, held_out = (drawn(task, 2000, 0, "any", held_out=part) for part in (False, True))
    assert not {tuple(row) for row in trained.tolist()} & {tuple(row) for row in held_out.tolist()}
    assert task.scored(trained).sum() == 2000 * 6


def test_impossible_delays_are_refused() -> None:
    with pytest.raises(UserError, match="give at most 63") as refused:
        DelayedRecall(delay=64)
    assert refused.value.path == ("delay",)
    assert DelayedRecall(delay=63).length == 64
    with pytest.raises(UserError):
        tasks.resolve({"name": "delayed_recall", "rate": 0.0})
