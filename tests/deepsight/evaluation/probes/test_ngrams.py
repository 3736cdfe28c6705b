"""n-grams against dictionaries of lists."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.evaluation.probes.ngrams import NOTHING, followed, places_of

VOCABULARY = 4


class Naive:
    """Counts what followed each context, place by place."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, most: int) -> None:
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for row, following in zip(inputs.tolist(), targets.tolist(), strict=True):
            for at, token in enumerate(following):
                for k in range(most + 1):
                    if token >= 0 and k <= at + 1:
                        self.counts[tuple(row[at + 1 - k : at + 1])][token] += 1

    def probability(self, context: tuple[int, ...], token: int) -> float:
        counts = self.counts.get(context, Counter())
        if not context:
            return (counts[token] + 1) / (counts.total() + VOCABULARY)
        shorter = self.probability(context[1:], token)
        if not counts:
            return shorter
        return (counts[token] + len(counts) * shorter) / (counts.total() + len(counts))

    def likeliest(self, context: tuple[int, ...]) -> int:
        counts = self.counts.get(context, Counter())
        return min(counts, key=lambda token: (-counts[token], token), default=NOTHING)


def sequences(rows: int, time: int, seed: int, ignored: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(VOCABULARY, size=(rows, time + 1))
    targets = np.where(generator.random((rows, time)) < ignored, -100, tokens[:, 1:])
    return tokens[:, :-1], targets


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 6),
    time=st.integers(1, 9),
    most=st.integers(0, 4),
    seed=st.integers(0, 999),
    ignored=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_they_are_those_of_dictionaries(rows: int, time: int, most: int, seed: int, ignored: float) -> None:
    known, asked = sequences(rows, time, seed, ignored), sequences(3, time + 1, seed + 1, 0.2)
    naive, places = Naive(*known, most), places_of(*asked, most)
    found = list(followed(places_of(*known, most), places, VOCABULARY))
    assert len(found) == most + 1
    expected = [
        (row[: at + 1], token)
        for row, following in zip(asked[0].tolist(), asked[1].tolist(), strict=True)
        for at, token in enumerate(following)
        if token >= 0
    ]
    assert places.following.tolist() == [token for _, token in expected]
    for k, said in enumerate(found):
        for place, (read, token) in enumerate(expected):
            there = len(read) >= k
            assert said.likeliest[place] == (naive.likeliest(tuple(read[len(read) - k :])) if there else NOTHING)
            context = tuple(read[len(read) - k :]) if there else tuple(read)
            assert said.probability[place] == pytest.approx(naive.probability(context, token))


@given(seed=st.integers(0, 99))
def test_probabilities_of_all_tokens_sum_to_one(seed: int) -> None:
    known = places_of(*sequences(4, 6, seed, 0.1), 3)
    context = np.random.default_rng(seed).integers(VOCABULARY, size=3)
    asked = places_of(
        np.tile(context, (VOCABULARY, 1)),
        np.column_stack([np.full((VOCABULARY, 2), -100), np.arange(VOCABULARY)]),
        3,
    )
    for said in followed(known, asked, VOCABULARY):
        assert said.probability.sum() == pytest.approx(1)


def test_a_large_vocabulary_does_not_overflow() -> None:
    vocabulary = 200_000
    tokens = np.random.default_rng(0).integers(vocabulary - 5, vocabulary, size=(1, 4001))
    places = places_of(tokens[:, :-1], tokens[:, 1:], 4)
    *_, last = followed(places, places, vocabulary)
    # All contexts have been seen, and in so few tokens most sets of four have been followed by any.
    assert (last.likeliest >= vocabulary - 5).sum() == 4000 - 3
    assert 0.25 < np.mean(last.likeliest == places.following) < 0.6
