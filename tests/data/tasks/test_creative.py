"""Open-ended tasks: what is drawn, and how much of it is trained on."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from deepsight.data.tasks.circle_construction import CircleConstruction
from deepsight.data.tasks.creative import Creative, weighted
from deepsight.data.tasks.line_construction import LineConstruction
from deepsight.data.tasks.sequences import HeldOut, TaskBatches, distinct, drawn
from deepsight.data.tasks.sibling_discovery import SiblingDiscovery
from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.triangle_discovery import TriangleDiscovery
from deepsight.errors import UserError
from deepsight.plug_ins import tasks
from tests.open_ended import LARGE, NAMES, TINY, every_coherent, every_sequence, form, random_state, spoiled, words_of


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> Creative:
    return TINY[request.param]()


@pytest.mark.parametrize("name", [name for name in TINY if name not in LARGE])
def test_of_all_sequences_those_that_fit_the_rules_are_coherent(name: str) -> None:
    task = TINY[name]()
    sequences = every_sequence(task)
    expected = [form(task, words_of(task, sequence)) is not None for sequence in sequences]
    assert task.coherent(sequences).tolist() == expected
    assert sum(expected) == task.forms * task.listings


def test_spoiled_sequences_are_judged_as_by_plain_rules(tiny: Creative) -> None:
    drawn_ones = tiny.draw(random_state(1), 1500)
    drawn_ones = drawn_ones[drawn_ones[:, 0] == tiny.prompt]
    for sequences in (drawn_ones, spoiled(drawn_ones, len(tiny.words), 2)):
        forms = [form(tiny, words_of(tiny, sequence)) for sequence in sequences]
        fits = tiny.coherent(sequences)
        assert fits.tolist() == [found is not None for found in forms]
        rows = [row.tobytes() for row in tiny.canonical(sequences)]
        pairs = {(found, row) for found, row in zip(forms, rows, strict=True) if found is not None}
        assert len(pairs) == len({found for found, _ in pairs}) == len({row for _, row in pairs})
    assert tiny.coherent(drawn_ones).all()
    assert 0.01 < fits.mean() < 0.95


@st.composite
def any_task(draw: st.DrawFn) -> Creative:
    numbers = st.integers(2, 7)
    kind = draw(st.sampled_from(NAMES))
    if kind == "sibling_discovery":
        return SiblingDiscovery(
            draw(numbers), draw(numbers), training_set=1, parent_first=draw(st.booleans()), samples=20
        )
    if kind == "triangle_discovery":
        degree = draw(st.integers(2, 5))
        vertices = draw(st.integers(max(4, degree + 1), 12))
        return TriangleDiscovery(vertices, degree, draw(numbers), draw(st.floats(0.01, 0.99)), draw(numbers), 20)
    chosen = draw(st.integers(3, 9))
    make = CircleConstruction if kind == "circle_construction" else LineConstruction
    return make(draw(st.integers(max(4, chosen), 12)), chosen, training_set=1, samples=20)


@given(any_task(), st.integers(0, 1000))
def test_what_is_drawn_and_what_the_solver_says_is_coherent(task: Creative, seed: int) -> None:
    sequences = task.draw(random_state(seed), 30)
    sequences = sequences[sequences[:, 0] == task.prompt]
    prompts = np.full((30, 1), task.prompt)
    said = np.concatenate([prompts, Solver(task, seed).continued(prompts, task.answer_length)], axis=1)
    taught = np.array(sequences)
    # After any beginning of a drawn sequence too, the next token is one of those that may come.
    cut = 1 + seed % task.answer_length
    rest = Solver(task, seed).continued(taught[:, :cut], task.length - cut)
    together = np.concatenate([sequences, said, np.concatenate([taught[:, :cut], rest], axis=1)])
    assert all(form(task, words_of(task, sequence)) is not None for sequence in together)
    assert task.coherent(together).all()
    assert not task.coherent(np.concatenate([together[:, :1], together[:, 1:] * 0], axis=1)).any()


@pytest.mark.parametrize("name", [name for name in TINY if name not in ("triangle", "graph")])
def test_everything_is_drawn_equally_often(name: str) -> None:
    task = TINY[name]()
    expected = every_coherent(task)
    assert len(expected) == task.forms * task.listings
    counts = Counter(map(tuple, task.draw(random_state(3), 60 * len(expected)).tolist()))
    assert set(counts) == set(expected)
    assert chisquare([counts[sequence] for sequence in expected]).pvalue > 1e-4


def test_the_solver_draws_everything_equally_often(tiny: Creative) -> None:
    expected = every_coherent(tiny)
    prompts = np.full((60 * len(expected), 1), tiny.prompt)
    answers = Solver(tiny, seed=4).continued(prompts, tiny.answer_length, temperature=1.0)
    counts = Counter(map(tuple, np.concatenate([prompts, answers], axis=1).tolist()))
    assert set(counts) == set(expected)
    assert chisquare([counts[sequence] for sequence in expected]).pvalue > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_what_is_held_out_is_never_trained_on_in_any_listing(name: str) -> None:
    task = tasks.build(name)
    assert isinstance(task, Creative)
    held_out = HeldOut(task, count=300).examples
    trained = distinct(task, task.training_set, 0) if task.training_set else drawn(task, 20_000, 3, "batches", 0)
    kept = {row.tobytes() for row in task.canonical(held_out)}
    assert kept.isdisjoint(row.tobytes() for row in task.canonical(trained))
    assert kept.isdisjoint(task.known)
    assert task.coherent(held_out).all()
    assert (held_out[:, 0] == task.prompt).all()
    # Another listing of the same thing is held out too.
    answers = held_out[:, 1:]
    if name == "sibling_discovery":
        answers = answers[:, [1, 0, 2]]
    elif name == "triangle_discovery":
        answers = answers[:, ::-1]
    else:
        answers = np.roll(answers, 2, axis=1)
    other = np.concatenate([held_out[:, :1], answers], axis=1)
    assert task.coherent(other).all()
    np.testing.assert_array_equal(task.keys(other), task.keys(held_out))


@pytest.mark.parametrize("name", NAMES)
def test_equal_parameters_give_equal_sequences_and_the_prompt_is_never_scored(name: str) -> None:
    one, other = tasks.build(name), tasks.build(name)
    assert isinstance(one, Creative)
    assert isinstance(other, Creative)
    sequences = one.draw(random_state(9), 500)
    np.testing.assert_array_equal(sequences, other.draw(random_state(9), 500))
    assert one.known == other.known
    assert sequences.shape == (500, one.length)
    assert sequences.dtype == np.int64
    assert len(set(one.words)) == len(one.words)
    assert not any(" " in word for word in one.words)
    scored = one.scored(sequences)
    assert not scored[:, 0].any()
    assert scored[sequences[:, 0] == one.prompt, 1:].all()
    assert scored.sum(axis=1).max() == one.answer_length
    measured = [task.measure(Solver(task, 3), sequences) for task in (one, other)]
    assert measured[0] == measured[1]


@pytest.mark.parametrize("name", NAMES)
def test_training_batches_hold_what_samples_are_compared_with(name: str) -> None:
    task = tasks.build({"name": name, **({"training_set": 300} if name != "triangle_discovery" else {})})
    assert isinstance(task, Creative)
    batches = TaskBatches(task, batch_size=100, seed=5)
    seen: set[bytes] = set()
    steps = 3 if task.training_set else 450
    prompted = 0
    for step in range(steps):
        batch = batches(step)
        # The last token of an edge is none that is scored, and those are left out.
        sequences = np.concatenate([batch.inputs.numpy(), batch.targets.numpy()[:, -1:]], axis=1)
        sequences = sequences[sequences[:, 0] == task.prompt]
        prompted += len(sequences)
        seen |= {row.tobytes() for row in task.canonical(sequences)}
    assert seen == task.known
    share = 1 / 3 if name == "triangle_discovery" else 1
    assert prompted / steps / 100 == pytest.approx(share, abs=0.01)


RENDERED = {
    "sibling_discovery": "siblings: 291 279 p5",
    "triangle_discovery": "tri: 171 19, 19 112, 112 171",
    "circle_construction": "circle: 6 8, 8 1, 0 3, 12 0, 9 7, 3 9, 4 6, 1 12, 7 4",
    "line_construction": "line: 1 12, 12 0, 4 6, 9 7, 3 9, 6 8, 8 1, 0 3",
}


@pytest.mark.parametrize("name", NAMES)
def test_sequences_are_the_same_on_every_machine(name: str) -> None:
    # Change `version` of the task where this changes.
    task = tasks.build(name)
    assert task.rendered(task.draw(random_state(2026), 3)[2]) == RENDERED[name]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "sibling_discovery", "children": 1}, "children"),
        ({"name": "sibling_discovery", "parents": 0}, "parents"),
        (
            {"name": "sibling_discovery", "parents": 2, "children": 3, "training_set": 13},
            "training_set: parents 2 and children 3",
        ),
        ({"name": "triangle_discovery", "vertices": 5, "degree": 5}, "degree: a vertex of 5 .* give at most 4"),
        ({"name": "triangle_discovery", "trained": 1.0}, "trained"),
        ({"name": "circle_construction", "chosen": 16}, "chosen: 16 vertices .* of 15; give at most 15"),
        ({"name": "circle_construction", "chosen": 2}, "chosen"),
        ({"name": "line_construction", "vertices": 8}, "chosen: 9 vertices .* of 8; give at most 8"),
        ({"name": "line_construction", "vertices": 3, "chosen": 3, "training_set": 13}, "training_set: vertices 3"),
    ],
)
def test_impossible_parameters_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tasks.build(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "sibling_discovery", "parents": 1, "children": 4},
        {"name": "sibling_discovery", "parents": 10, "children": 10},
        {"name": "circle_construction", "vertices": 5, "chosen": 4},
        {"name": "line_construction", "vertices": 4, "chosen": 4},
    ],
)
def test_the_largest_training_set_that_is_offered_can_be_had(spec: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="give at most") as refused:
        tasks.build({**spec, "training_set": 100_000})
    most = int(str(refused.value).rpartition(" ")[2].replace(",", ""))
    task = tasks.build({**spec, "training_set": most})
    assert len(distinct(task, most, 0)) == most
    with pytest.raises(UserError, match="different sequences to train on"):
        tasks.build({**spec, "training_set": most + 1})


def test_columns_are_drawn_by_their_weight() -> None:
    weights = np.tile([0.0, 3.0, 0.0, 1.0, 0.0], (20_000, 1))
    counts = np.bincount(weighted(random_state(1), weights), minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert counts[1] / 20_000 == pytest.approx(0.75, abs=0.012)
