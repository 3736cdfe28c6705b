"""Effective rank beside eigenvalues, and the probe beside least squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.tasks.readouts import RIDGE, effective_rank, probed


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 99))
def test_effective_rank_is_the_participation_ratio_of_the_eigenvalues(count: int, width: int, seed: int) -> None:
    states = np.random.default_rng(seed).normal(3.0, 1.0, (count, width)).astype(np.float32)
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(states, rowvar=False)))
    assert effective_rank(states) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-5)


def test_effective_rank_counts_directions() -> None:
    corners = np.concatenate([np.eye(5), -np.eye(5)]).astype(np.float32)
    assert effective_rank(corners) == pytest.approx(5)
    assert effective_rank(np.outer(np.arange(4), np.ones(3)).astype(np.float32)) == pytest.approx(1)
    assert effective_rank(np.ones((4, 3), dtype=np.float32)) == 0


def test_the_probe_is_ridge_regression() -> None:
    random = np.random.default_rng(0)
    states, tested = random.normal(2.0, 3.0, (60, 4)), random.normal(2.0, 3.0, (50, 4))
    classes = random.integers(0, 3, 60)
    mean = states.mean(axis=0)
    scale = np.sqrt(np.mean((states - mean) ** 2))
    # The penalty as observations of nothing, and a last column that no penalty touches.
    rows = np.column_stack([(states - mean) / scale, np.ones(60)])
    penalty = np.column_stack([np.sqrt(RIDGE * 60) * np.eye(4), np.zeros(4)])
    wanted = np.concatenate([np.eye(3)[classes], np.zeros((4, 3))])
    weights = np.linalg.lstsq(np.concatenate([rows, penalty]), wanted, rcond=None)[0]
    expected = (np.column_stack([(tested - mean) / scale, np.ones(50)]) @ weights).argmax(axis=1)
    assert probed(states, classes, tested, 3).tolist() == expected.tolist()


def test_the_probe_reads_what_is_there_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    classes = random.integers(0, 6, 4000)
    states = (random.normal(size=(6, 8))[classes] + 0.01 * random.normal(size=(4000, 8))).astype(np.float32)
    assert (probed(states[:2000], classes[:2000], states[2000:], 6) == classes[2000:]).all()
    noise = random.normal(size=(4000, 8)).astype(np.float32)
    right = probed(noise[:2000], classes[:2000], noise[2000:], 6) == classes[2000:]
    assert right.mean() == pytest.approx(1 / 6, abs=0.04)
    assert probed(
        np.ones((3, 2), dtype=np.float32), np.array([1, 1, 0]), np.ones((2, 2), dtype=np.float32), 2
    ).tolist() == [1, 1]
