"""Token losses against plain softmaxes, where nothing counts, and in memory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.trace import IGNORED
from objectives.token_loss import linear_divergence, token_loss
from tests.memory import peak_bytes


def random(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 6), st.integers(1, 5), st.integers(2, 7), st.integers(0, 63))
def test_the_divergence_is_that_of_a_loop(positions: int, width: int, vocabulary: int, bits: int) -> None:
    predicted, target, weight = random(positions, width), random(positions, width, seed=1), random(vocabulary, width)
    counted = torch.tensor([bool(bits >> position & 1) for position in range(positions)])
    total = 0.0
    for position in range(positions):
        if counted[position]:
            p, q = ((weight @ state[position]).softmax(0).tolist() for state in (target, predicted))
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = total / max(1, int(counted.sum()))
    found = linear_divergence(predicted, target, weight, counted)
    assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_the_divergence_of_many_positions_needs_no_more_memory_per_position_than_their_states() -> None:
    """Logits of 8,192 positions over 1,000 tokens would be 33 MB each; those of a chunk are 4 MB."""
    width, vocabulary = 4, 1000
    weight = torch.randn(vocabulary, width)

    def peak(positions: int) -> int:
        target = torch.randn(positions, width)
        predicted = torch.randn(positions, width, requires_grad=True)
        counted = torch.ones(positions, dtype=torch.bool)
        return peak_bytes(lambda: linear_divergence(predicted, target, weight, counted).backward())

    peak(16)
    # Beside a chunk's logits, a position has its gradient, and the parts that the chunks' gradients are added up in.
    per_position = (peak(8192) - peak(2048)) / (8192 - 2048)
    assert per_position < 40 * width < 4 * vocabulary


def test_where_nothing_counts_the_losses_and_their_gradients_are_zero() -> None:
    hidden = random(2, 3, 4).requires_grad_()
    weight = random(5, 4).requires_grad_()
    nothing = torch.full((2, 3), IGNORED)
    none = torch.zeros(6, dtype=torch.bool)
    loss = token_loss(hidden, weight, nothing) + linear_divergence(hidden.flatten(0, 1), random(6, 4), weight, none)
    loss.backward()
    assert loss.item() == 0
    for part in (hidden, weight):
        assert part.grad is not None
        assert not part.grad.any()


def test_ignored_positions_do_not_count() -> None:
    hidden, weight = random(2, 3, 4), random(5, 4)
    targets = torch.tensor([[0, IGNORED, 4], [IGNORED, IGNORED, 2]])
    logs = [(weight @ hidden[b, t]).log_softmax(0)[k] for b, t, k in ((0, 0, 0), (0, 2, 4), (1, 2, 2))]
    assert token_loss(hidden, weight, targets).item() == pytest.approx(-sum(logs).item() / 3, rel=1e-10)
