"""Diagnostics against numpy, and the loss over that of a prediction that says the same everywhere."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from deepsight.errors import UserError
from objectives import distances
from objectives.diagnostics import MOST_ROWS, effective_rank, mean_cosine, mean_gain, mean_variance, smallest_variance
from tests.objectives.test_future_context import build, leaves, trace_of


@given(rows=st.integers(1, 30), width=st.integers(1, 8), rank=st.integers(1, 8), batch=st.integers(1, 3))
def test_variance_and_effective_rank_equal_numpys(rows: int, width: int, rank: int, batch: int) -> None:
    draw = np.random.default_rng(rows)
    vectors = draw.normal(size=(batch, rows, rank)) @ draw.normal(size=(rank, width)) + 3
    flat = vectors.reshape(-1, width)
    assert mean_variance(torch.tensor(vectors)).item() == pytest.approx(flat.var(axis=0).mean(), rel=1e-9, abs=1e-15)
    found = smallest_variance(torch.tensor(vectors)).item()
    assert found == pytest.approx(min(flat.var(axis=0)), rel=1e-9, abs=1e-15)
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


@given(rows=st.integers(1, 12), width=st.integers(1, 5), batch=st.integers(1, 3))
def test_the_mean_cosine_is_over_all_pairs_of_positions(rows: int, width: int, batch: int) -> None:
    vectors = torch.randn(batch, rows, width, generator=torch.Generator().manual_seed(rows), dtype=torch.float64) + 0.5
    pairs = list(itertools.combinations(vectors.flatten(0, 1).numpy(), 2))
    cosines = [float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) for a, b in pairs]
    expected = sum(cosines) / len(cosines) if cosines else 0.0
    assert mean_cosine(vectors).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_one_direction_has_a_mean_cosine_of_one() -> None:
    line = torch.linspace(1, 2, 9)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    assert mean_cosine(line[None]).item() == pytest.approx(1, abs=1e-6)
    assert mean_cosine(torch.eye(4)[None]).item() == 0
    assert mean_cosine(torch.zeros(2, 5, 3)).item() == 0


def test_wide_vectors_have_the_rank_of_their_rows() -> None:
    """The spectrum is taken of rows × rows where these are fewer; and of evenly spread rows where both are many."""
    draw = np.random.default_rng(0)
    few = draw.normal(size=(1, 7, 40))
    values = np.linalg.svd(few[0] - few[0].mean(axis=0), compute_uv=False)
    shares = values[:6] / values[:6].sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(torch.tensor(few)).item() == pytest.approx(expected, rel=1e-6)
    two = torch.zeros(3 * MOST_ROWS, MOST_ROWS + 1)
    two[::2, 0], two[1::2, 1], two[::3] = 1.0, 1.0, 0.0  # three points span two directions
    assert effective_rank(two).item() == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("name", distances.names())
def test_a_constant_prediction_is_no_better_than_the_trivial_one(name: str) -> None:
    """About one where nothing is known, whatever is said everywhere; far less where the target is nearly met."""
    objective = build(n=3, distance=name, norm_affine=False)
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(4, 30, 6, generator=generator) + torch.tensor([2.0, 0, 0, -1, 0, 0.5])
    mean = target.mean(dim=(0, 1)).expand_as(target)
    assert objective._over_trivial(mean, target).item() > 0.999
    assert objective._over_trivial(torch.zeros_like(target), target).item() > 0.999
    near = target + 0.05 * torch.randn(4, 30, 6, generator=generator)
    # The rows of this target are much alike: InfoNCE cannot tell all of them apart.
    assert objective._over_trivial(near, target).item() < (0.7 if name == "info_nce" else 0.3)
    if name in ("mse", "cosine", "barlow", "correlation", "vicreg", "smooth_l1"):
        assert objective._over_trivial(mean, target).item() == pytest.approx(1, rel=1e-5)


def test_what_the_trivial_prediction_pays() -> None:
    """For squared errors the variance of the target; for InfoNCE the logarithm of the number of rows."""
    for name, expected in (("mse", None), ("info_nce", math.log(2 * 9))):
        objective = build(n=3, distance=name)
        trace = trace_of(*leaves())
        prediction, target = objective.sides(trace)
        loss = distances.build(name)(prediction=prediction, target=target)
        paid = mean_variance(target) if expected is None else torch.tensor(expected)
        assert objective.diagnostics(trace)["loss_over_trivial"].item() == pytest.approx((loss / paid).item(), rel=1e-5)


def test_sides_of_different_shapes_are_an_error() -> None:
    message = r"^prediction and target must have one shape, not \(2, 5, 3\) and \(2, 1, 3\)$"
    with pytest.raises(UserError, match=message):
        build(n=3).disagreement(torch.zeros(2, 5, 3), torch.zeros(2, 1, 3))
