"""Merges and distances against loops in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from objectives import distances, merges

shapes: Any = given(batch=st.integers(1, 3), rows=st.integers(1, 9), width=st.integers(1, 6), n=st.integers(1, 90))


def pair(batch: int, rows: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * 7 + width)
    return tuple(torch.randn(batch, rows, width, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["equal", "context_size", "future_only"])
@shapes
def test_merges_equal_the_loop(name: str, batch: int, rows: int, width: int, n: int) -> None:
    present, future = pair(batch, rows, width)
    found = merges.build(name)(present=present, future=future, n=n)
    for row in range(rows):
        read = row + 1  # positions that row has seen
        share = {"equal": 0.5, "context_size": n / (read + n), "future_only": 1.0}[name]
        expected = (1 - share) * present[:, row] + share * future[:, row]
        assert_close(found[:, row], expected, atol=1e-14, rtol=1e-14)


def naive_distance(name: str, prediction: Tensor, target: Tensor) -> float:
    values = []
    for p, t in zip(prediction.flatten(0, 1).tolist(), target.flatten(0, 1).tolist(), strict=True):
        if name == "mse":
            values += [(a - b) ** 2 for a, b in zip(p, t, strict=True)]
            continue
        if name == "smooth_l1":
            gaps = [abs(a - b) for a, b in zip(p, t, strict=True)]
            values += [gap**2 / 2 if gap < 1 else gap - 1 / 2 for gap in gaps]
            continue
        dot, sizes = sum(a * b for a, b in zip(p, t, strict=True)), math.hypot(*p) * math.hypot(*t)
        similarity = (dot / sizes + 1) / 2
        values.append(1 - similarity if name == "cosine" else -math.log(similarity))
    return sum(values) / len(values)


@pytest.mark.parametrize("name", ["mse", "cosine", "log_cosine", "smooth_l1"])
@shapes
def test_distances_equal_the_loop(name: str, batch: int, rows: int, width: int, n: int) -> None:
    # One number has a cosine of one or minus one, whose logarithm is infinite.
    prediction, target = pair(batch, rows, width + 1)
    found = distances.build(name)(prediction=prediction, target=target)
    assert found.shape == ()
    assert found.item() == pytest.approx(naive_distance(name, prediction, target), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("beta", [0.1, 1.0, 30.0])
def test_beta_is_where_smooth_l1_turns(beta: float) -> None:
    prediction = torch.tensor([[[-beta, 0.5 * beta, 3 * beta]]], dtype=torch.float64)
    distance = distances.build({"name": "smooth_l1", "beta": beta})
    found = distance(prediction=prediction, target=torch.zeros_like(prediction))
    assert found.item() == pytest.approx((beta / 2 + beta / 8 + 2.5 * beta) / 3, rel=1e-12)


@pytest.mark.parametrize("name", ["mse", "cosine", "log_cosine", "smooth_l1", "correlation"])
def test_equal_vectors_have_no_distance(name: str) -> None:
    vectors, _ = pair(2, 5, 4)
    assert distances.build(name)(prediction=vectors, target=vectors).item() == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("name", ["cosine", "log_cosine"])
def test_directions_alone_count(name: str) -> None:
    prediction, target = pair(2, 5, 4)
    distance = distances.build(name)
    scaled = distance(prediction=3 * prediction, target=0.1 * target)
    assert_close(scaled, distance(prediction=prediction, target=target), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_vectors_give_finite_numbers(dtype: torch.dtype) -> None:
    prediction = torch.ones(1, 1, 4, dtype=dtype, requires_grad=True)
    loss = distances.build("log_cosine")(prediction=prediction, target=-torch.ones(1, 1, 4, dtype=dtype))
    (gradient,) = torch.autograd.grad(loss, prediction)
    assert loss.item() > 30
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
