"""Normalisers against numpy, and where there is nothing to divide by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from objectives import normalisers
from tests.objectives.test_future_context import build, leaves, trace_of

NORMALISING = ("standardise", "whiten")


def correlated(batch: int, rows: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    vectors = torch.randn(batch, rows, width, generator=generator, dtype=torch.float64)
    return vectors @ torch.randn(width, width, generator=generator, dtype=torch.float64) + 3


def normalised(name: str, target: Tensor) -> Tensor:
    module: Any = normalisers.build(name, width=target.shape[-1])
    found: Tensor = module(target)
    return found


@given(batch=st.integers(1, 3), rows=st.integers(3, 30), width=st.integers(1, 6))
def test_standardised_equals_numpys(batch: int, rows: int, width: int) -> None:
    target = correlated(batch, rows, width)
    flat = target.flatten(0, 1).numpy()
    expected = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    assert_close(normalised("standardise", target).flatten(0, 1), torch.from_numpy(expected), atol=1e-9, rtol=1e-9)


@given(batch=st.integers(1, 3), rows=st.integers(12, 40), width=st.integers(1, 6))
def test_whitened_equals_numpys(batch: int, rows: int, width: int) -> None:
    target = correlated(batch, rows, width)
    flat = target.flatten(0, 1).numpy()
    scaled = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    factor = np.linalg.cholesky(scaled.T @ scaled / len(flat) + 1e-4 * np.eye(width))
    expected = scaled @ np.linalg.inv(factor).T
    assert_close(normalised("whiten", target).flatten(0, 1), torch.from_numpy(expected), atol=1e-8, rtol=1e-8)


def test_whitened_dimensions_have_variance_one_and_no_correlation() -> None:
    white = normalised("whiten", correlated(4, 500, 5)).flatten(0, 1)
    assert_close(white.mean(dim=0), torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0)
    covariance = white.T @ white / len(white)
    # The ridge takes its share of the directions with the least variance.
    assert_close(covariance, torch.eye(5, dtype=torch.float64), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", NORMALISING)
@pytest.mark.parametrize("scale", [1e-6, 1e5])
def test_neither_scale_nor_place_counts(name: str, scale: float) -> None:
    target = correlated(2, 30, 4)
    assert_close(normalised(name, scale * target), normalised(name, target), atol=1e-8, rtol=1e-8)
    assert_close(normalised(name, scale * target.float()).double(), normalised(name, target), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NORMALISING)
def test_a_gain_on_single_dimensions_does_not_count(name: str) -> None:
    target = correlated(2, 30, 4)
    assert_close(
        normalised(name, torch.tensor([1.0, 1e-4, 1.0, 30.0]) * target), normalised(name, target), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", NORMALISING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [0.0, 1e-3, 1 / 3, 7.1])
def test_constant_targets_stay_finite_and_small(name: str, dtype: torch.dtype, constant: float) -> None:
    target = torch.full((3, 37, 3), constant, dtype=dtype, requires_grad=True)
    found = normalised(name, target)
    (gradient,) = torch.autograd.grad(found.square().sum(), target)
    assert found.dtype == dtype
    # Not what rounding leaves of a constant, blown up to a variance of one.
    assert found.abs().max() < 0.2
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NORMALISING)
def test_fewer_rows_than_dimensions_stay_finite(name: str) -> None:
    target = correlated(1, 3, 8).requires_grad_()
    found = normalised(name, target)
    (gradient,) = torch.autograd.grad((found * torch.randn(3, 8)).sum(), target)
    assert torch.isfinite(found).all()
    assert torch.isfinite(gradient).all()
    assert found.abs().max() < 4


@pytest.mark.parametrize("name", NORMALISING)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    target = correlated(2, 6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda vectors: normalised(name, vectors), (target,))


@pytest.mark.parametrize("name", NORMALISING)
def test_no_gain_before_them_can_shrink_the_target(name: str) -> None:
    objective = build(n=3, normaliser=name)
    trace = trace_of(*leaves())
    before = objective.sides(trace)[1]
    with torch.no_grad():
        objective.context_norm.weight.mul_(1e-3)
        objective.context_norm.bias.mul_(1e-3)
    assert_close(objective.sides(trace)[1], before, atol=2e-3, rtol=0)
