"""The mean over what counts."""

from __future__ import annotations

import pytest
import torch

from objectives.averaging import mean_where


def test_it_is_the_mean_of_what_counts_and_what_does_not_may_be_anything() -> None:
    values = torch.tensor([[1.0, torch.inf], [5.0, torch.nan]], requires_grad=True)
    found = mean_where(values, torch.tensor([[True, False], [True, False]]))
    assert found.item() == pytest.approx(3.0)
    (gradient,) = torch.autograd.grad(found, values)
    assert gradient.tolist() == [[0.5, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize("shape", [(3,), (2, 0), (0,)])
def test_where_nothing_counts_it_is_zero_with_a_zero_gradient(shape: tuple[int, ...]) -> None:
    values = torch.ones(shape, requires_grad=True)
    found = mean_where(values, torch.zeros(shape, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(found, values)
    assert found == 0
    assert not gradient.any()
