"""Path-star graphs against a search written out, and their measures against players that are wrong on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.data.player import Sequences
from deepsight.data.tasks.path_star import PathStar
from deepsight.data.tasks.sequences import drawn
from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.words import Words
from deepsight.errors import UserError

shapes = st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(0, 5)).map(
    lambda drawn: (drawn[0], drawn[1], max(2, 1 + drawn[0] * (drawn[1] - 1)) + drawn[2])
)


def searched(task: PathStar, sequence: list[str]) -> list[str]:
    """Return the path of one sequence of words, by depth-first search over its edges."""
    prompt = " ".join(sequence[: task.prompt_length])
    listed, _, query = prompt.partition(" / ")
    start, goal, equals = query.split()
    assert equals == "="
    after: dict[str, list[str]] = {}
    for edge in listed.split(" | "):
        one, other = edge.split()
        after.setdefault(one, []).append(other)
    assert len(after[start]) == task.degree

    def paths(path: list[str]) -> list[list[str]]:
        if path[-1] == goal:
            return [path]
        return [found for node in after.get(path[-1], []) for found in paths([*path, node])]

    (only,) = paths([start])
    return only


@settings(max_examples=40, deadline=None)
@given(shapes, st.sampled_from(["forward", "reversed", "teacherless"]), st.integers(0, 1000))
def test_the_answer_is_the_path_that_a_search_finds(shape: tuple[int, int, int], target: Any, seed: int) -> None:
    task = PathStar(*shape, target=target)
    sequences = task.draw(np.random.RandomState(seed), 5)
    assert sequences.shape == (5, 3 * shape[0] * (shape[1] - 1) - 1 + 4 + shape[1])
    for sequence in sequences:
        words = [task.words[token] for token in sequence]
        path = searched(task, words)
        assert len(path) == shape[1]
        assert words[task.prompt_length :] == (path[::-1] if target == "reversed" else path)
        assert task.scored(sequence[None])[0].tolist() == [False] * task.prompt_length + [True] * shape[1]


def test_the_published_layout_word_for_word() -> None:
    task = PathStar(degree=2, length=3, labels=9)
    sequence = Words(task.words).encode("4 7 | 1 2 | 1 4 | 2 8 / 1 8 = 1 2 8")
    assert len(sequence) == task.length
    assert task.rendered(np.array(sequence)) == "4→7 | 1→2 | 1→4 | 2→8 / 1 8 = 1 2 8"
    examples = np.array([sequence])
    assert Solver(task).continued(examples[:, : task.prompt_length], 3).tolist() == [sequence[-3:]]


@given(shapes, st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_kind_of_a_graph_is_blind_to_order_and_goal(shape: tuple[int, int, int], seed: int) -> None:
    task = PathStar(*shape)
    generator = np.random.RandomState(seed)
    (sequence,) = task.draw(generator, 1)
    edges = [*sequence[: 3 * task.edges - 1].tolist(), task.bar]
    triples = [edges[place : place + 3] for place in range(0, len(edges), 3)]
    shuffled = [triples[place] for place in generator.permutation(len(triples))]
    other = np.array([token for triple in shuffled for token in triple][:-1] + sequence[3 * task.edges - 1 :].tolist())
    other[task.prompt_length - 2] = shuffled[0][1]
    assert task.keys(other[None]) == task.keys(sequence[None])
    many = task.draw(generator, 200)
    graphs = {frozenset(zip(row[0 : 3 * task.edges : 3], row[1 : 3 * task.edges : 3], strict=True)) for row in many}
    assert len(np.unique(task.keys(many))) == len(graphs)


def test_goals_and_nodes_are_drawn_evenly() -> None:
    task = PathStar(degree=2, length=3, labels=6)
    sequences = task.draw(np.random.RandomState(0), 12_000)
    starts = np.bincount(sequences[:, task.prompt_length - 3], minlength=6) / 12_000
    assert np.abs(starts - 1 / 6).max() < 0.02
    # The first edge that leaves the start leads to the goal as often as the second.
    first = [
        searched(task, [task.words[token] for token in row])[1] == task.words[edges[edges[:, 0] == row[11 + 1]][0, 1]]
        for row in sequences[:2000]
        if (edges := row[[0, 1, 3, 4, 6, 7, 9, 10]].reshape(4, 2)).size
    ]
    assert abs(np.mean(first) - 0.5) < 0.05


class CleverHans(Solver):
    """Takes any arm of the start, and then reads each next node off the edges: what next-token training ends in."""

    def continued(self, prompts: Sequences, count: int, **_: Any) -> Sequences:
        task = self.task
        assert isinstance(task, PathStar)
        path = [prompts[:, -3]]
        for _step in range(count - 1):
            following = []
            for row, node in zip(prompts, path[-1], strict=True):
                edges = row[: 3 * task.edges]
                choices = [edges[place + 1] for place in range(0, 3 * task.edges, 3) if edges[place] == node]
                following.append(choices[int(self._random.randint(len(choices)))] if choices else node)
            path.append(np.array(following))
        return np.stack(path, axis=1)


def test_copying_from_the_shown_answer_is_told_from_planning() -> None:
    task = PathStar(degree=2, length=4, labels=10)
    examples = drawn(task, 1500, 0, "held out", held_out=True)
    measures = task.measure(CleverHans(task), examples)
    assert measures["rest_of_path_forced"].value == 1.0
    for name in ("full_path", "first_hop", "token_3", "rest_of_path"):
        assert measures[name].chance == 0.5
        assert measures[name].value == pytest.approx(0.5, abs=0.05)
    assert measures["token_3_forced"].chance == measures["rest_of_path_forced"].chance == 1 / 6
    assert measures["token_4"].chance is measures["token_4_forced"].chance is None
    assert next(iter(measures)) == "full_path"


def test_a_path_without_a_middle_has_no_rest_to_follow() -> None:
    for length in (2, 3):
        task = PathStar(length=length)
        measures = task.measure(Solver(task), task.draw(np.random.RandomState(0), 4))
        assert not any(name.startswith("rest") for name in measures)


def test_teacherless_sequences_show_nothing_of_the_answer() -> None:
    task = PathStar(target="teacherless")
    sequences = drawn(task, 8, 0, "test")
    read = task.read(sequences)
    assert (read[:, task.prompt_length :] == task.dollar).all()
    assert np.array_equal(read[:, : task.prompt_length], sequences[:, : task.prompt_length])

    class OnePass(Solver):
        def predicted(self, sequences: Sequences) -> Sequences:
            assert (sequences[:, task.prompt_length :] == task.dollar).all()
            answers = self.continued(sequences[:, : task.prompt_length], task.path_length)
            return np.concatenate([sequences[:, 1 : task.prompt_length], answers], axis=1)

    measures = task.measure(OnePass(task), sequences)
    assert {name: measure.value for name, measure in measures.items()} == dict.fromkeys(measures, 1.0)
    assert not any(name.endswith("_forced") for name in measures)


def test_more_nodes_than_labels_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^labels: degree 3 and length 4 make 10 nodes.*give at least 10$"):
        PathStar(degree=3, length=4, labels=9)
    assert PathStar(degree=3, length=4, labels=10).nodes == 10
