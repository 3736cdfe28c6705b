"""Held-out tokens and the averages over them, against loops."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.errors import UserError
from deepsight.evaluation.losses import evaluate
from deepsight.evaluation.probes.held_out import by_doubling, by_position, held_out_tokens, mean_over
from deepsight.trace import IGNORED
from tests.deepsight.evaluation.probes.untrained import PATH_STAR, TASK, untrained_subject
from tests.runs import write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@given(documents=st.lists(st.integers(0, 6), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_the_mean_and_its_error_are_those_of_a_ratio_of_sums(documents: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=len(documents))
    found = mean_over(values, np.array(documents))
    assert found.value == pytest.approx(sum(values) / len(values))
    of_document = defaultdict(list)
    for document, value in zip(documents, values, strict=True):
        of_document[document].append(value - found.value)
    number = len(of_document)
    assert (found.tokens, found.documents) == (len(values), number)
    if number < 2:
        assert found.error is None
        return
    squares = sum(sum(apart) ** 2 for apart in of_document.values())
    assert found.error == pytest.approx(math.sqrt(number / (number - 1) * squares) / len(values))


def test_documents_of_one_length_have_the_usual_error_of_their_means() -> None:
    values = np.random.default_rng(1).normal(size=(9, 4))
    found = mean_over(values.ravel(), np.repeat(np.arange(9), 4))
    assert found.error == pytest.approx(values.mean(axis=1).std(ddof=1) / 3)


def test_the_error_is_that_of_drawing_documents() -> None:
    generator = np.random.default_rng(2)
    means, errors = [], []
    for _ in range(400):
        lengths = generator.integers(5, 40, size=40)
        documents = np.repeat(np.arange(40), lengths)
        found = mean_over(generator.normal(size=40)[documents] + generator.normal(size=len(documents)), documents)
        means.append(found.value)
        errors.append(found.error)
    assert np.mean(np.square(errors)) == pytest.approx(np.var(means), rel=0.2)


@given(numbers=st.lists(st.integers(0, 300), min_size=1, max_size=50))
def test_ranges_double_and_hold_every_number_once(numbers: list[int]) -> None:
    ranges = [(first, last, list(np.array(numbers)[inside])) for first, last, inside in by_doubling(np.array(numbers))]
    assert sorted(number for _, _, held in ranges for number in held) == sorted(numbers)
    for first, last, held in ranges:
        assert all(first <= number <= last for number in held)
        assert first in (0, 1) or (math.log2(first).is_integer() and last in (2 * first - 1, max(numbers)))
    assert [first for first, _, _ in ranges] == sorted({first for first, _, _ in ranges})


def test_few_positions_are_told_apart_and_many_come_in_ranges_from_the_first_one_on() -> None:
    few = np.array([20, 23, 20, 21])
    assert [(first, last, inside.sum()) for first, last, inside in by_position(few)] == [
        (20, 20, 2), (21, 21, 1), (23, 23, 1)
    ]  # fmt: skip
    many = np.arange(8, 29)
    assert [(first, last) for first, last, _ in by_position(many)] == [
        (8, 8),
        (9, 9),
        (10, 11),
        (12, 15),
        (16, 23),
        (24, 28),
    ]
    assert sum(inside.astype(int) for _, _, inside in by_position(many)).tolist() == [1] * 21


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"evaluation__first_position": 5},
        {"model__architecture": {"name": "canonical", "prefix": 7}},
        {"model__architecture": "baseline"},
        PATH_STAR,
    ],
    ids=["plain", "first position", "canonical", "baseline", "task"],
)
def test_the_losses_are_those_of_the_validation_loss(text: Path, changes: dict[str, Any]) -> None:
    subject = untrained_subject(text, **changes)
    held = held_out_tokens(subject, 11)
    losses = held.token_losses(subject.model, lambda: None)
    assert len(losses) == len(held.positions) == len(held.counted_documents)
    windows = subject.source.windows(context=subject.config.model.context, count=11)
    said = evaluate(
        subject.model, subject.objectives, windows, batch_size=4, device=subject.device,
        token_bytes=torch.zeros(subject.source.vocabulary), autocast=contextlib.nullcontext(),
        first_position=subject.config.evaluation.first_position,
    )  # fmt: skip
    assert losses.mean() == pytest.approx(said["validation_loss"], rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 20), first=st.integers(0, 15))
def test_tokens_and_documents_stand_side_by_side(text: Path, count: int, first: int) -> None:
    subject = untrained_subject(text, evaluation__first_position=first)
    held = held_out_tokens(subject, count)
    windows = subject.source.windows(context=16, count=count)
    expected = []
    for start in windows.starts.tolist():
        tokens = subject.source.corpus.validation[: start + 17].astype(np.int64)
        for position in range(first, 16):
            ended = (tokens[: start + position + 1] == subject.source.corpus.end_of_text).sum()
            expected.append((position, int(ended), int(tokens[start + position + 1])))
    targets = held.targets.numpy()[held.counted]
    assert list(zip(held.positions, held.counted_documents, targets, strict=True)) == expected


def test_where_nothing_counts_there_is_a_sentence(text: Path) -> None:
    subject = untrained_subject(text, data=TASK, model__context=40, evaluation__first_position=30)
    with pytest.raises(UserError, match="no token after position 30 of the held-out sequences counts"):
        held_out_tokens(subject, 4)
    assert (held_out_tokens(untrained_subject(text, **PATH_STAR), 4).targets == IGNORED).any()
