"""Semantic tube prediction: its value against a loop, and what straight and folded paths cost."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.objective_specs import resolved_objective
from deepsight.plug_ins import objectives
from deepsight.trace import Trace
from objectives.semantic_tube import SemanticTube
from tests.objectives.states import END, SHAPE, WIDTH, free_trace, one_document


def build(**parameters: Any) -> SemanticTube:
    built: Any = objectives.build({"name": "semantic_tube", **parameters}, shape=SHAPE)
    return built


def along(path: Tensor) -> Trace:
    """Return a trace whose states (batch, time, width) are given."""
    return dataclasses.replace(free_trace(*path.shape[:2]), decoder_output=path)


def cosine(first: list[float], second: list[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.hypot(*first) / math.hypot(*second)


@given(
    batch=st.integers(1, 3),
    time=st.integers(3, 9),
    spans=st.integers(1, 5),
    end=st.sampled_from([None, END]),
    seed=st.integers(0, 5),
)
def test_the_loss_is_that_of_a_loop(batch: int, time: int, spans: int, end: int | None, seed: int) -> None:
    trace, objective = free_trace(batch, time, end=end, seed=seed), build(spans=spans)
    torch.manual_seed(seed)
    drawn = list(zip(*(part.tolist() for part in objective._drawn(trace)), strict=True))
    assert all(0 <= s < r < t < time for s, r, t in drawn)
    found = []
    for row, states in enumerate(trace.decoder_output.detach().unbind()):
        for s, r, t in drawn:
            if one_document(trace, row, s, t):
                found.append(1 - cosine((states[r] - states[s]).tolist(), (states[t] - states[r]).tolist()))
    torch.manual_seed(seed)
    loss = objective(trace)["loss"].item()
    assert loss == pytest.approx(sum(found) / max(1, len(found)), rel=1e-10, abs=1e-14)


def test_a_straight_line_costs_nothing_however_fast_it_is_run_through() -> None:
    torch.manual_seed(0)
    times = torch.rand(2, 9, 1, dtype=torch.float64).cumsum(dim=1)
    line = torch.randn(2, 1, WIDTH, dtype=torch.float64) + times * torch.randn(2, 1, WIDTH, dtype=torch.float64)
    assert build(spans=50)(along(line))["loss"].item() == pytest.approx(0, abs=1e-12)


def test_going_back_costs_two_and_a_right_angle_one() -> None:
    there, corner = torch.zeros(2, 1, 3, WIDTH, dtype=torch.float64)
    there[0, 1, 0] = corner[0, 1:, 0] = corner[0, 2, 1] = 1.0
    assert build()(along(there))["loss"].item() == pytest.approx(2, abs=1e-12)
    assert build()(along(corner))["loss"].item() == pytest.approx(1, abs=1e-12)


def test_every_triple_is_drawn_and_about_as_often() -> None:
    torch.manual_seed(0)
    drawn = torch.stack(build(spans=20_000)._drawn(free_trace(time=5)), dim=1)
    triples, times = drawn.unique(dim=0, return_counts=True)
    assert len(triples) == math.comb(5, 3)
    # Five standard deviations of a binomial count with p = 1/10.
    assert (times - 2000).abs().max() < 5 * math.sqrt(20_000 * 0.09)


@pytest.mark.parametrize("time", [1, 2])
def test_a_window_without_three_positions_has_no_loss(time: int) -> None:
    trace = free_trace(time=time)
    loss = build()(trace)["loss"]
    loss.backward()
    assert loss == 0
    assert trace.decoder_output.grad is not None
    assert not trace.decoder_output.grad.any()


def test_a_window_of_short_documents_has_no_loss_and_equal_states_a_finite_gradient() -> None:
    trace = free_trace(end=END)
    ended = dataclasses.replace(trace, tokens=torch.full_like(trace.tokens, END))
    assert build()(ended)["loss"] == 0
    still = torch.ones(2, 6, WIDTH, dtype=torch.float64, requires_grad=True)
    build()(along(still))["loss"].backward()
    assert still.grad is not None
    assert torch.isfinite(still.grad).all()


def test_following_the_gradient_straightens_the_path() -> None:
    path = free_trace(time=12).decoder_output
    losses = []
    for _ in range(200):
        loss = build(spans=64)(along(path))["loss"]
        (gradient,) = torch.autograd.grad(loss, path)
        path = (path - gradient).detach().requires_grad_()
        losses.append(loss.item())
    assert losses[0] > 0.8
    assert sum(losses[-10:]) / 10 < 0.3


def test_the_default_coefficient_is_that_of_the_authors_program() -> None:
    assert resolved_objective("semantic_tube")["coefficient"] == 0.1
    assert resolved_objective({"name": "semantic_tube", "coefficient": 1.0})["coefficient"] == 1.0
