"""One stream for each purpose."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepsight.random_streams import derive

purposes = st.lists(st.text(max_size=3) | st.integers(-5, 300), max_size=3).map(tuple)


@given(seed=st.integers(0, 2**40), purpose=purposes)
def test_a_purpose_has_one_seed_that_torch_and_numpy_take(seed: int, purpose: tuple[str | int, ...]) -> None:
    value = derive(seed, *purpose)
    assert value == derive(seed, *purpose)
    assert 0 <= value < 2**63


@given(left=purposes, right=purposes)
def test_two_purposes_never_share_one(left: tuple[str | int, ...], right: tuple[str | int, ...]) -> None:
    assert (derive(0, *left) == derive(0, *right)) == (left == right)


def test_parts_do_not_run_into_each_other() -> None:
    assert len({derive(1, "a", 1), derive(1, "a", "1"), derive(1, "a1"), derive(11, "a"), derive(1, 1, "a")}) == 5


def test_values_do_not_drift() -> None:
    """Trials that were trained before must stay comparable with those trained after."""
    digest = hashlib.sha256(b"7\x1fstr:dropout\x1fint:3").digest()
    assert derive(7, "dropout", 3) == int.from_bytes(digest[:8], "big") >> 1


def test_neighbouring_steps_give_unrelated_streams() -> None:
    draws = np.array([np.random.default_rng(derive(0, "x", step)).random() for step in range(4000)])
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.06  # four standard errors
    assert abs(draws.mean() - 0.5) < 0.02
