"""Diagnostics against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from objectives.diagnostics import effective_rank, mean_gain, mean_variance


@given(rows=st.integers(1, 30), width=st.integers(1, 8), rank=st.integers(1, 8), batch=st.integers(1, 3))
def test_variance_and_effective_rank_equal_numpys(rows: int, width: int, rank: int, batch: int) -> None:
    draw = np.random.default_rng(rows)
    vectors = draw.normal(size=(batch, rows, rank)) @ draw.normal(size=(rank, width)) + 3
    flat = vectors.reshape(-1, width)
    assert mean_variance(torch.tensor(vectors)).item() == pytest.approx(flat.var(axis=0).mean(), rel=1e-9, abs=1e-15)
    values = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)
    shares = values / values.sum() if len(flat) > 1 else np.array([1.0])
    shares = shares[shares > 1e-12]
    expected = np.exp(-(shares * np.log(shares)).sum())
    # Singular values are roots of eigenvalues here: half of the digits are left for the smallest.
    assert effective_rank(torch.tensor(vectors)).item() == pytest.approx(expected, rel=1e-5)


def test_the_rank_counts_directions() -> None:
    identity = torch.eye(6, dtype=torch.float64)
    assert effective_rank(torch.cat([identity, -identity])[None]).item() == pytest.approx(6)
    line = torch.linspace(0, 1, 9)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    assert effective_rank(line[None]).item() == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.full((2, 5, 3), 7.0)).item() == 1
    assert effective_rank(torch.zeros(2, 5, 3)).item() == 1


@pytest.mark.parametrize("scale", [1e-12, 1e6])
def test_the_rank_does_not_depend_on_the_scale(scale: float) -> None:
    vectors = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0))
    assert effective_rank(scale * vectors).item() == pytest.approx(effective_rank(vectors).item(), rel=1e-4)


def test_the_mean_gain_is_over_all_dimensions_of_all_norms() -> None:
    first, second, bare = nn.LayerNorm(2), nn.LayerNorm(4), nn.LayerNorm(2, elementwise_affine=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([-2.0, 2.0]))
        second.weight.copy_(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    found = mean_gain([first, bare, second])
    assert found is not None
    assert found.item() == pytest.approx((2 + 2 + 4) / 6)
    assert mean_gain([bare]) is None
    assert mean_gain([]) is None
