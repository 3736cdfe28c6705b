"""Average precision and the area under the curve, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from deepsight.evaluation.probes.ranking import average_precision, roc_area

CASES = st.tuples(st.integers(0, 9999), st.integers(1, 25), st.integers(1, 6))


def drawn(seed: int, positions: int, different: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores, many of them equal, and what is there."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(different, size=(positions, 3)).astype(np.float64)
    return scores, generator.random((positions, 3)) < 0.4


@given(case=CASES)
def test_average_precision_is_the_sum_over_thresholds(case: tuple[int, int, int]) -> None:
    scores, there = drawn(*case)
    for column, found in enumerate(average_precision(scores, there)):
        score, present = scores[:, column], there[:, column]
        if not present.any():
            assert np.isnan(found)
            continue
        expected, recall = 0.0, 0.0
        for threshold in sorted(set(score), reverse=True):
            above = score >= threshold
            now = present[above].sum() / present.sum()
            expected += (now - recall) * present[above].mean()
            recall = now
        assert found == pytest.approx(expected)


@given(case=CASES)
def test_the_area_is_the_chance_of_the_right_order(case: tuple[int, int, int]) -> None:
    scores, there = drawn(*case)
    for column, found in enumerate(roc_area(scores, there)):
        present, absent = scores[there[:, column], column], scores[~there[:, column], column]
        if not len(present) or not len(absent):
            assert np.isnan(found)
            continue
        assert found == pytest.approx(mannwhitneyu(present, absent).statistic / (len(present) * len(absent)))


def test_a_perfect_order_and_none() -> None:
    there = np.arange(40)[:, None] % 4 == 0
    assert average_precision(there.astype(float), there).item() == roc_area(there.astype(float), there).item() == 1.0
    assert average_precision(np.zeros((40, 1)), there).item() == pytest.approx(0.25)
    assert roc_area(np.zeros((40, 1)), there).item() == 0.5
