"""Distances that compare rows, against loops and numpy; and that no constant prediction wins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from objectives import distances
from tests.memory import allocations

COMPARING = ("info_nce", "vicreg", "barlow", "correlation")

shapes: Any = given(batch=st.integers(1, 3), rows=st.integers(2, 9), width=st.integers(1, 5), seed=st.integers(0, 9))


def pair(batch: int, rows: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return a prediction and a target that have something to do with each other, far from zero."""
    noise = torch.randn(3, batch, rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise[0] + noise[2] + 2, 0.3 * noise[1] + noise[2] - 1


def distance(spec: Any, prediction: Tensor, target: Tensor) -> Tensor:
    found: Tensor = distances.build(spec)(prediction=prediction, target=target)
    return found


def flat(side: Tensor) -> np.ndarray[Any, Any]:
    return side.flatten(0, 1).numpy()


def naive_info_nce(prediction: Tensor, target: Tensor, temperature: float, drawn: list[int] | None = None) -> float:
    """Each row's own target among all (or the drawn ones), scored by cosines."""
    predicted, wanted = flat(prediction), flat(target)
    losses = []
    for own, p in enumerate(predicted):
        scores = [float(p @ t) / math.sqrt(float(p @ p) * float(t @ t)) / temperature for t in wanted]
        others = [j for j in (range(len(wanted)) if drawn is None else drawn) if j != own]
        losses.append(math.log(sum(math.exp(scores[j]) for j in [own, *others])) - scores[own])
    return sum(losses) / len(losses)


@shapes
def test_info_nce_equals_the_loop(batch: int, rows: int, width: int, seed: int) -> None:
    prediction, target = pair(batch, rows, width, seed)
    assert distance("info_nce", prediction, target).item() == pytest.approx(
        naive_info_nce(prediction, target, 0.1), rel=1e-10
    )


@shapes
def test_of_many_rows_some_targets_are_drawn(batch: int, rows: int, width: int, seed: int) -> None:
    prediction, target = pair(batch, rows, width, seed)
    spec = {"name": "info_nce", "temperature": 0.5, "negatives": 3}
    torch.manual_seed(seed)
    found = distance(spec, prediction, target).item()
    torch.manual_seed(seed)
    drawn = torch.randperm(batch * rows).tolist()[:3] if batch * rows > 4 else None
    assert found == pytest.approx(naive_info_nce(prediction, target, 0.5, drawn), rel=1e-10)


def test_the_memory_of_info_nce_grows_with_rows_times_negatives() -> None:
    prediction, target = torch.randn(2, 1, 4000, 2).unbind()
    spec = {"name": "info_nce", "negatives": 50}
    assert max(allocations(lambda: distance(spec, prediction, target))) < 4 * 4000 * 60


def test_who_cannot_tell_rows_apart_pays_the_logarithm_of_their_number() -> None:
    _, target = pair(2, 9, 4)
    for constant in (torch.zeros_like(target), torch.ones_like(target), target.mean(dim=(0, 1)).expand_as(target)):
        assert distance("info_nce", constant, target).item() >= math.log(18) - 1e-12
    assert distance("info_nce", torch.zeros_like(target), target).item() == pytest.approx(math.log(18), rel=1e-12)


def naive_vicreg(prediction: Tensor, target: Tensor, weights: tuple[float, float, float]) -> float:
    p, t = flat(prediction), flat(target)
    found = weights[0] * float(((p - t) ** 2).mean())
    for side in (p, t):
        matrix = np.atleast_2d(np.cov(side, rowvar=False))
        width = len(matrix)
        spread = [max(0.0, 1 - math.sqrt(matrix[d, d] + 1e-4)) for d in range(width)]
        mixed = [matrix[i, j] ** 2 for i in range(width) for j in range(width) if i != j]
        found += weights[1] * sum(spread) / width + weights[2] * sum(mixed) / width
    return found


@shapes
def test_vicreg_equals_the_loop(batch: int, rows: int, width: int, seed: int) -> None:
    prediction, target = pair(batch, rows, width, seed)
    expected = naive_vicreg(prediction, target, (25, 25, 1))
    assert distance("vicreg", prediction, target).item() == pytest.approx(expected, rel=1e-10)
    spec = {"name": "vicreg", "invariance": 2.0, "variance": 3.0, "covariance": 5.0}
    expected = naive_vicreg(0.1 * prediction, target, (2, 3, 5))
    assert distance(spec, 0.1 * prediction, target).item() == pytest.approx(expected, rel=1e-10)


@shapes
def test_barlow_and_correlation_equal_numpys(batch: int, rows: int, width: int, seed: int) -> None:
    prediction, target = pair(batch, rows, width, seed)
    matrix = np.corrcoef(flat(prediction), flat(target), rowvar=False)[:width, width:]
    diagonal = np.diag(matrix)
    mixed = (matrix**2).sum() - (diagonal**2).sum()
    expected = ((1 - diagonal) ** 2).sum() + 5e-3 * mixed
    assert distance("barlow", prediction, target).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    spec = {"name": "barlow", "off_diagonal": 2.0}
    assert distance(spec, prediction, target).item() == pytest.approx(expected + 1.995 * mixed, rel=1e-10, abs=1e-12)
    found = distance("correlation", prediction, target).item()
    assert found == pytest.approx(1 - diagonal.mean(), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("name", ["barlow", "correlation"])
def test_scale_and_place_of_a_dimension_do_not_count(name: str) -> None:
    prediction, target = pair(2, 9, 3)
    moved = prediction * torch.tensor([1e-6, 1.0, 300.0]) + torch.tensor([0.0, 5.0, -1.0])
    assert distance(name, moved, target).item() == pytest.approx(distance(name, prediction, target).item(), rel=1e-6)


@pytest.mark.parametrize("name", COMPARING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constants_and_single_rows_give_finite_numbers(name: str, dtype: torch.dtype) -> None:
    for constant in (0.0, 1e-3, 7.1):
        for rows in (1, 8):
            prediction = torch.full((1, rows, 3), constant, dtype=dtype, requires_grad=True)
            for target in (torch.full((1, rows, 3), 0.3, dtype=dtype), pair(1, rows, 3)[1].to(dtype)):
                loss = distance(name, prediction, target)
                (gradient,) = torch.autograd.grad(loss, prediction)
                assert torch.isfinite(loss)
                assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", COMPARING)
def test_neither_the_order_of_rows_nor_their_sequence_counts(name: str) -> None:
    prediction, target = pair(3, 4, 5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mixed = [side.flatten(0, 1)[order].reshape(2, 6, 5) for side in (prediction, target)]
    assert distance(name, *mixed).item() == pytest.approx(distance(name, prediction, target).item(), rel=1e-12)
