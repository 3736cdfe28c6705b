"""What every task keeps: sequences that repeat, held-out ones that are never trained on, and a solver that is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsight.data.tasks.sequences import BLOCK, HeldOut, TaskBatches, batch_of, distinct, drawn
from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.source import TaskSource, fingerprint
from deepsight.data.tasks.task import Task
from deepsight.data.tasks.words import Words
from deepsight.errors import UserError
from deepsight.plug_ins import tasks
from deepsight.registry import Spec
from deepsight.trace import IGNORED

QUICK = {"board_moves": {"game": "tic_tac_toe", "training_set": 2000}}
"""Parameters of tasks whose usual ones take long to prepare."""


def _spec(name: str) -> Spec:
    return tasks.resolve({"name": name, **QUICK.get(name, {})})


def _made(name: str) -> Task:
    try:
        return tasks.build(_spec(name))
    except UserError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(params=tasks.names())
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def task(name: str) -> Task:
    return _made(name)


def test_equal_seeds_give_equal_sequences_and_others_give_others(task: Task) -> None:
    first, again, other = (drawn(task, 64, seed, "test") for seed in (1, 1, 2))
    assert first.shape == (64, task.length)
    assert first.dtype == np.int64
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.min() >= 0
    assert first.max() < len(task.words)


def test_words_are_tokens_that_can_be_read_back(task: Task) -> None:
    assert len(set(task.words)) == len(task.words)
    assert all(word and not word.split()[1:] for word in task.words)
    words, sequence = Words(task.words), drawn(task, 1, 0, "test")[0]
    assert words.encode(words.decode(sequence.tolist())) == sequence.tolist()
    assert task.rendered(sequence).strip()


def test_the_answer_is_no_longer_than_it_says(task: Task) -> None:
    scored = task.scored(drawn(task, 256, 0, "test"))
    assert scored.shape == (256, task.length)
    assert scored.any(axis=1).all()
    assert scored.sum(axis=1).max() <= task.answer_length
    # The first token follows nothing that could tell it.
    assert task.length > 1


def test_nothing_held_out_is_trained_on(task: Task) -> None:
    held_out = set(task.keys(HeldOut(task, count=128).examples).tolist())
    trained: set[int] = set()
    batches = TaskBatches(task, batch_size=512, seed=3)
    for step in range(4):
        block = batches._block(step // 4)
        trained.update(task.keys(block).tolist())
    assert trained
    assert not held_out & trained


def test_batches_are_a_pure_function_of_the_step(task: Task) -> None:
    small, large = (TaskBatches(task, batch_size=size, seed=5) for size in (24, 48))
    inputs = torch.cat([small(step).inputs for step in (0, 1)])
    assert torch.equal(inputs, large(0).inputs)
    assert torch.equal(TaskBatches(task, batch_size=24, seed=5)(1).inputs, inputs[24:])
    # Across the seam between two blocks too.
    step = BLOCK // 24
    assert torch.equal(small(step).inputs, TaskBatches(task, batch_size=24, seed=5)(step).inputs)


def test_targets_are_the_scored_tokens_one_position_early(task: Task) -> None:
    sequences = drawn(task, 32, 0, "test")
    batch = batch_of(task, sequences)
    scored = task.scored(sequences)
    for row in range(32):
        for time in range(task.length - 1):
            expected = sequences[row, time + 1] if scored[row, time + 1] else IGNORED
            assert batch.targets[row, time] == expected


def test_a_solver_gets_the_main_measure_right_and_no_share_leaves_its_bounds(task: Task) -> None:
    examples = HeldOut(task, count=64).examples
    measures = task.measure(Solver(task), examples)
    for measured in measures.values():
        if measured.share:
            assert 0.0 <= measured.value <= 1.0
            assert measured.chance is None or 0.0 <= measured.chance < 1.0
    solved = next(iter(measures.values()))
    assert solved.value == pytest.approx(getattr(task, "ceiling", 1.0), abs=0.1 if hasattr(task, "ceiling") else 0.0)


def test_a_changed_parameter_or_version_is_another_fingerprint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _spec(name)
    plain = fingerprint(spec)
    assert plain == fingerprint(_spec(name))
    monkeypatch.setattr(tasks[name].factory, "version", 99, raising=False)
    assert fingerprint(spec) != plain


def test_a_source_says_what_it_is(name: str, task: Task) -> None:
    source = TaskSource(_spec(name))
    assert name in source.describe()
    assert source.vocabulary == len(task.words)
    assert not source.token_bytes().any()
    counts = source.token_counts()
    assert counts.sum() > 0
    with pytest.raises(UserError, match=f"at least {task.length - 1}, not {task.length - 2}"):
        source.batches(context=task.length - 2, batch_size=2, seed=0)


def test_a_training_set_has_different_sequences_in_an_order_of_each_epochs_own() -> None:
    task = _made("path_star")
    task.training_set = 3000
    batches = TaskBatches(task, batch_size=1500, seed=1)
    fixed = {tuple(row) for row in distinct(task, 3000, 0).tolist()}
    assert len(fixed) == 3000
    epochs = []
    for epoch in range(3):
        inputs = torch.cat([batches(2 * epoch + half).inputs for half in (0, 1)])
        assert {tuple(row) for row in inputs.tolist()} == {row[:-1] for row in fixed}
        epochs.append(inputs)
    assert not torch.equal(epochs[0], epochs[1])
    other = TaskBatches(task, batch_size=3000, seed=2)(0).inputs
    assert {tuple(row) for row in other.tolist()} == {row[:-1] for row in fixed}
    assert not torch.equal(other, epochs[0])


def test_a_training_set_that_is_larger_than_all_there_is_is_one_sentence() -> None:
    task = tasks.build({"name": "path_star", "degree": 1, "length": 2, "labels": 9})
    with pytest.raises(
        UserError, match=r"^training_set: there are only about 6\d different sequences to train on, not 9"
    ):
        distinct(task, 9_000, 0)
