"""The positions that probes are trained and measured on, against loops over text."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.errors import UserError
from deepsight.evaluation.probes.examples import (
    SELECT,
    TEST,
    TRAIN,
    counting,
    examples_of,
    split_by_document,
    trained_on,
)
from deepsight.trace import IGNORED
from tests.deepsight.evaluation.probes.subjects import END, random_text, subject_of, task_subject


def nothing() -> None:
    pass


@given(documents=st.lists(st.integers(0, 40), min_size=3, max_size=300), seed=st.integers(0, 9))
def test_a_document_lies_in_one_part_and_every_part_has_some(documents: list[int], seed: int) -> None:
    found = torch.tensor(documents)
    if len(set(documents)) < 3:
        with pytest.raises(UserError, match=rf"lie in {len(set(documents))} documents; .* needs at least 3"):
            split_by_document(found, seed)
        return
    parts = split_by_document(found, seed)
    assert set(parts.tolist()) == {TRAIN, SELECT, TEST}
    by_part = {part: set(found[parts == part].tolist()) for part in (TRAIN, SELECT, TEST)}
    assert sum(len(members) for members in by_part.values()) == len(set(documents))
    assert set().union(*by_part.values()) == set(documents)


def test_the_split_goes_by_the_documents_alone_and_has_about_the_shares_it_should() -> None:
    documents = torch.arange(400).repeat_interleave(7)
    parts = split_by_document(documents, 0)
    order = torch.randperm(len(documents))
    assert torch.equal(split_by_document(documents[order], 0), parts[order])
    assert not torch.equal(split_by_document(documents, 1), parts)
    shares = torch.bincount(parts) / len(parts)
    assert shares.tolist() == pytest.approx([0.6, 0.15, 0.25], abs=0.01)


@settings(max_examples=15)
@given(document=st.integers(3, 30), offset=st.integers(1, 5), seed=st.integers(0, 99))
def test_tokens_ahead_end_with_their_document(document: int, offset: int, seed: int) -> None:
    text = random_text(1200, document=document, seed=seed)
    subject = subject_of(text, text)
    examples = examples_of(subject, [offset, offset + 1], 400)
    expected = []
    windows = subject.source.windows(context=16, count=len(text) // 16)
    for first in sorted(int(start) for start in windows.starts):
        for t in range(first, first + 16):
            ahead = []
            for k in (offset, offset + 1):
                # x_{t+1} … x_{t+k} lie in one document.
                crosses = END in text[t + 1 : t + k]
                ahead.append(IGNORED if crosses or t + k >= len(text) else int(text[t + k]))
            if ahead != [IGNORED, IGNORED]:
                expected.append((int(text[t]), *ahead, int((text[: t + 1] == END).sum())))
    assert len(examples.tokens) >= 300
    found = zip(examples.tokens.tolist(), *examples.ahead.T.tolist(), examples.documents.tolist(), strict=True)
    assert set(found) <= set(expected)


@pytest.mark.parametrize("architecture", ["deepsight", "baseline", "canonical"])
def test_states_are_those_of_their_positions(architecture: str) -> None:
    text = random_text(2000, document=9)
    subject = subject_of(text, text, model__architecture=architecture)
    examples = examples_of(subject, [2], 200)
    place: Any = {"layer": 1}
    states = examples.states(subject.model, place, nothing)
    windows = subject.source.windows(context=16, count=len(examples._looked.windows))
    first = subject.model.first_predicted(subject.model.config)
    expected = []
    for start in np.concatenate(windows.starts_of_batches(examples._looked.size)):
        whole = torch.from_numpy(text[start : start + 17].astype(np.int64))
        trace = subject.model(whole[None, :-1], whole[None, 1:])
        for t in range(first, 16):
            if int(text[start + t + 1]) != END and start + t + 2 < len(text):
                expected.append((int(text[start + t]), int(text[start + t + 2]), trace.layers[0][0, t - first]))
    assert examples.tokens.tolist() == [one[0] for one in expected]
    assert examples.ahead[:, 0].tolist() == [one[1] for one in expected]
    torch.testing.assert_close(states, torch.stack([one[2] for one in expected]), rtol=1e-4, atol=1e-5)


def test_neither_seed_nor_architecture_moves_them_and_early_positions_can_be_left_out() -> None:
    text = random_text(3000)
    one = examples_of(subject_of(text, text), [1, 2], 500)
    for changes in ({"seed": 5}, {"model__architecture": "baseline"}, {"model__layers": [2, 1]}):
        other = examples_of(subject_of(text, text, **changes), [1, 2], 500)
        for name in ("tokens", "ahead", "documents", "parts"):
            assert torch.equal(getattr(one, name), getattr(other, name)), (changes, name)
    later = examples_of(subject_of(text, text, evaluation__first_position=10), [1], 500)
    assert 500 <= len(later.tokens) < 560
    assert later._looked.chosen[0][:, :10].sum() == 0
    assert later._looked.chosen[0][:, 10:].float().mean() > 0.9


def test_of_a_task_only_answers_count() -> None:
    subject = task_subject()
    examples = examples_of(subject, [1, 2, 3, 4], 600)
    assert 600 <= len(examples.tokens) < 700
    # An answer of three nodes: each sequence has six positions that see one of them within four steps.
    assert [int((examples.ahead[:, at] != IGNORED).sum()) for at in range(4)] == [300] * 4
    assert (examples.ahead[examples.ahead != IGNORED] < 10).all()
    assert counting(examples).offsets == (1, 2, 3, 4)


def test_what_never_counts_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no token that counts lies 30 ahead of any position"):
        examples_of(task_subject(), [30], 100)
    text = random_text(3000, document=5)
    examples = examples_of(subject_of(text, text), [1, 4, 5], 500)
    # One position in five has a fifth token ahead in its document: 15 of 100 in the part that selects.
    assert counting(examples).offsets == (1, 4)
    assert torch.equal(counting(examples).ahead, examples.ahead[:, :2])
    with pytest.raises(UserError, match=r"^positions: no token ahead counts at 20 positions of every part"):
        counting(examples_of(subject_of(text, random_text(60, document=5)), [1], 500))


def test_the_training_text_is_read_once_and_no_further_than_the_run_has() -> None:
    text = random_text(1000)
    for steps, read in ((2, 2 * 4 * 16), (1000, 1000)):
        subject = subject_of(text, text, training__steps=steps)
        tokens, ahead = trained_on(subject, [1, 2], 500_000, nothing)
        assert len(tokens) <= read + 16
        assert len(tokens) >= 0.9 * read
        assert ahead.shape == (len(tokens), 2)
        pairs = {(int(a), int(b)) for a, b in pairwise(text)}
        assert {(int(a), int(b)) for a, b in zip(tokens, ahead[:, 0], strict=True)} <= pairs
    assert len(trained_on(subject, [1], 100, nothing)[0]) <= 112
