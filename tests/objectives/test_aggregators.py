"""Aggregators against loops over positions, at any shape, horizon, and number of blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from objectives import aggregators
from objectives.aggregation import BLOCK, weighted_future
from tests.memory import allocations

WEIGHTS: dict[str, Any] = {
    "average": lambda n: [1 / n for _ in range(n)],
    "decay": lambda n: [1 / k for k in range(1, n + 1)],
    "normalized_decay": lambda n: [1 / k / sum(1 / j for j in range(1, n + 1)) for k in range(1, n + 1)],
}


def naive(embeddings: Tensor, weights: list[float]) -> Tensor:
    """Row i (from zero) is Σₖ weights[k] · embeddings[i + k]."""
    rows = embeddings.shape[1] - len(weights)
    result = torch.zeros(embeddings.shape[0], rows, embeddings.shape[2], dtype=torch.float64)
    for i in range(rows):
        for k, weight in enumerate(weights, start=1):
            result[:, i] += weight * embeddings[:, i + k].double()
    return result


def random_embeddings(batch: int, time: int, width: int) -> Tensor:
    return torch.randn(batch, time, width, generator=torch.Generator().manual_seed(time), dtype=torch.float64)


shapes = given(batch=st.integers(1, 3), n=st.integers(1, 150), rows=st.integers(1, 150), width=st.integers(1, 4))


@pytest.mark.parametrize("name", WEIGHTS)
@shapes
@example(batch=1, n=1, rows=1, width=1)  # the shortest
@example(batch=2, n=40, rows=1, width=3)  # n = T - 1
@example(batch=2, n=5, rows=BLOCK - 1, width=3)
@example(batch=2, n=5, rows=BLOCK, width=3)
@example(batch=2, n=5, rows=BLOCK + 1, width=3)
@example(batch=2, n=BLOCK, rows=2 * BLOCK, width=3)
@example(batch=1, n=130, rows=129, width=2)
def test_the_loop_agrees(name: str, batch: int, n: int, rows: int, width: int) -> None:
    embeddings = random_embeddings(batch, n + rows, width)
    found = aggregators.build(name, n=n)(embeddings)
    assert_close(found, naive(embeddings, WEIGHTS[name](n)), atol=1e-12, rtol=1e-12)


@shapes
def test_any_weights_and_their_gradients_agree(batch: int, n: int, rows: int, width: int) -> None:
    embeddings = random_embeddings(batch, n + rows, width)
    weights = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(n)).requires_grad_()
    outside = random_embeddings(batch, rows, width)
    found = weighted_future(embeddings, weights)
    assert_close(found, naive(embeddings, weights.tolist()), atol=1e-11, rtol=1e-11)
    (gradient,) = torch.autograd.grad((found * outside).sum(), weights)
    expected = [float((outside * embeddings[:, k : k + rows]).sum()) for k in range(1, n + 1)]
    assert_close(gradient.tolist(), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", WEIGHTS)
def test_float32_stays_float32_and_near(name: str) -> None:
    embeddings = random_embeddings(2, 100, 3)
    found = aggregators.build(name, n=11)(embeddings.float())
    assert found.dtype == torch.float32
    assert_close(found.double(), naive(embeddings, WEIGHTS[name](11)), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_present_and_what_lies_beyond_the_horizon_do_not_count(name: str) -> None:
    n, row = 4, 70
    embeddings = random_embeddings(1, 100, 2).requires_grad_()
    aggregators.build(name, n=n)(embeddings)[0, row].sum().backward()
    assert embeddings.grad is not None
    assert embeddings.grad[0, :, 0].nonzero().flatten().tolist() == [row + 1, row + 2, row + 3, row + 4]


def test_all_agree_where_only_one_position_is_ahead() -> None:
    embeddings = random_embeddings(2, 9, 3)
    for name in WEIGHTS:
        assert_close(aggregators.build(name, n=1)(embeddings), embeddings[:, 1:], atol=0, rtol=0)


@pytest.mark.parametrize("name", WEIGHTS)
def test_nothing_is_trained_or_stored(name: str) -> None:
    module = aggregators.build(name, n=5)
    assert list(module.parameters()) == []
    assert module.state_dict() == {}


def test_nothing_of_size_time_by_time_is_built() -> None:
    embeddings = torch.randn(1, 4000, 2)
    module = aggregators.build("decay", n=64)
    assert max(allocations(lambda: module(embeddings))) < 4 * 4000 * 4000 / 100
