"""What follows which token, counted by loops and by fractions."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepsight.evaluation.probes.controls import Classes, bag_follower, bags, follower
from deepsight.trace import IGNORED

VOCABULARY, CLASSES = 9, 5
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=60)


def random_pairs(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(VOCABULARY, size=count)
    following = np.where(generator.random(count) < 0.2, IGNORED, generator.integers(CLASSES, size=count))
    return torch.from_numpy(tokens), torch.from_numpy(following)


@given(seed=st.integers(0, 999), count=st.integers(1, 80), asked=TOKENS)
def test_shares_equal_those_of_a_count(seed: int, count: int, asked: list[int]) -> None:
    tokens, following = random_pairs(seed, count)
    pairs = [(int(t), int(c)) for t, c in zip(tokens, following, strict=True) if c != IGNORED]
    frequency = Counter(c for _, c in pairs)
    unigram = [Fraction(frequency[c] + 1, len(pairs) + CLASSES) for c in range(CLASSES)]
    found = follower(tokens, following, torch.tensor(asked), VOCABULARY, CLASSES)
    assert found.unigram.tolist() == pytest.approx([float(share) for share in unigram])
    assert float(found.unigram.sum()) == pytest.approx(1)
    after = found.after(torch.tensor(asked))
    for row, token in zip(after.tolist(), asked, strict=True):
        seen = Counter(c for t, c in pairs if t == token)
        # Witten & Bell: as many more as there are different ones, shared out as the unigram does.
        kinds, total = max(len(seen), 1), sum(seen.values())
        expected = [Fraction(seen[c] + kinds * unigram[c], total + kinds) for c in range(CLASSES)]
        assert row == pytest.approx([float(share) for share in expected])
        assert sum(row) == pytest.approx(1)


@given(seed=st.integers(0, 999), count=st.integers(1, 40), asked=TOKENS)
def test_shares_of_windows_equal_those_of_a_count(seed: int, count: int, asked: list[int]) -> None:
    tokens, _ = random_pairs(seed, count)
    ahead = torch.stack([random_pairs(seed + at, count)[1] for at in (1, 2, 3)], dim=1)
    windows = [(int(t), {int(c) for c in row if c != IGNORED}) for t, row in zip(tokens, ahead, strict=True)]
    assert bags(ahead, CLASSES).tolist() == [[c in bag for c in range(CLASSES)] for _, bag in windows]
    prior = [(sum(c in bag for _, bag in windows) + 1) / (count + 2) for c in range(CLASSES)]
    after = bag_follower(tokens, ahead, torch.tensor(asked), VOCABULARY, CLASSES).after(torch.tensor(asked))
    for row, token in zip(after.tolist(), asked, strict=True):
        own = [bag for t, bag in windows if t == token]
        kinds = max(len(set().union(*own)), 1)
        expected = [(sum(c in bag for bag in own) + kinds * prior[c]) / (len(own) + kinds) for c in range(CLASSES)]
        assert row == pytest.approx(expected)


@given(targets=st.lists(st.sampled_from([IGNORED, 0, 1, 2, 3, 7]), max_size=50), most=st.integers(1, 9))
def test_the_most_frequent_tokens_are_told_apart_and_all_others_are_one(targets: list[int], most: int) -> None:
    classes = Classes(torch.tensor(targets, dtype=torch.long), VOCABULARY, most)
    counts = Counter(target for target in targets if target != IGNORED)
    expected = sorted(counts, key=lambda token: (-counts[token], token))[:most]
    assert classes.tokens.tolist() == expected
    assert classes.count == len(expected) + 1
    asked = torch.tensor([IGNORED, *range(VOCABULARY)])
    others = len(expected)
    places = {token: at for at, token in enumerate(expected)}
    assert classes.of(asked).tolist() == [IGNORED, *(places.get(token, others) for token in range(VOCABULARY))]
    assert classes.of(asked.view(2, 5)).shape == (2, 5)
