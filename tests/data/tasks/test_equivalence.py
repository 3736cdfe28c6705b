"""Compression and distinction: all pairs, one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.tasks.equivalence import compression, distinction

groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12)


@given(groups)
def test_compression_is_the_mean_over_states_of_the_share_of_pairs(prefixes: list[tuple[int, int]]) -> None:
    shares = []
    for state in range(4):
        pairs = list(combinations([allowed for where, allowed in prefixes if where == state], 2))
        if pairs:
            shares.append(np.mean([one == other for one, other in pairs]))
    found = compression(*np.array(prefixes).T)
    assert found == (pytest.approx(np.mean(shares)) if shares else None)


@given(groups)
def test_distinction_is_the_share_of_pairs_that_differ(prefixes: list[tuple[int, int]]) -> None:
    pairs = [(one, other) for (a, one), (b, other) in combinations(prefixes, 2) if a != b]
    found = distinction(*np.array(prefixes).T)
    assert found == (pytest.approx(np.mean([one != other for one, other in pairs])) if pairs else None)
