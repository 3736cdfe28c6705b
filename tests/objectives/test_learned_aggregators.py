"""Aggregators that are trained: against loops, where they begin, what they say of themselves, and that they learn."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from objectives import aggregators
from objectives.aggregation import BLOCK
from tests.models import random_trace, small_model
from tests.objectives.test_aggregators import naive, random_embeddings
from tests.objectives.test_future_context import SHAPE, build, leaves, trace_of

LEARNED = ("learned_kernel", "learned_horizon", "depthwise_convolution", "attention_pooling")

shapes: Any = given(
    batch=st.integers(1, 3), n=st.integers(1, 40), rows=st.integers(1, BLOCK + 9), width=st.integers(1, 4)
)


def drawn(name: str, n: int, width: int) -> Any:
    """Return an aggregator in float64 whose weights are random."""
    module: Any = aggregators.build(name, n=n, width=width, shape=SHAPE).double()
    generator = torch.Generator().manual_seed(n)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return module


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


@shapes
def test_the_learned_kernel_is_a_weighted_mean(batch: int, n: int, rows: int, width: int) -> None:
    module, embeddings = drawn("learned_kernel", n, width), random_embeddings(batch, n + rows, width)
    assert_close(module(embeddings), naive(embeddings, softmax(module.logits.tolist())), atol=1e-11, rtol=1e-11)


@shapes
def test_the_learned_horizon_is_an_expected_mean(batch: int, n: int, rows: int, width: int) -> None:
    module, embeddings = drawn("learned_horizon", n, width), random_embeddings(batch, n + rows, width)
    expected = torch.zeros(batch, rows, width, dtype=torch.float64)
    for m, share in enumerate(softmax(module.logits.tolist()), start=1):
        expected += share * embeddings[:, 1:].unfold(1, m, 1)[:, :rows].mean(dim=-1)
    assert_close(module(embeddings), expected, atol=1e-11, rtol=1e-11)


@shapes
def test_the_convolution_has_a_kernel_for_each_dimension(batch: int, n: int, rows: int, width: int) -> None:
    module, embeddings = drawn("depthwise_convolution", n, width), random_embeddings(batch, n + rows, width)
    columns = [naive(embeddings[..., c : c + 1], module.kernel[c, 0].tolist()) for c in range(width)]
    assert_close(module(embeddings), torch.cat(columns, dim=-1), atol=1e-11, rtol=1e-11)


@shapes
def test_attention_pooling_equals_the_loop(batch: int, n: int, rows: int, width: int) -> None:
    module, embeddings = drawn("attention_pooling", n, width), random_embeddings(batch, n + rows, width)
    found = module(embeddings)
    for sequence in range(batch):
        for i in range(0, rows, max(1, rows // 5)):
            ahead = embeddings[sequence, i + 1 : i + n + 1]
            scores = [float(module.query.detach() @ vector) / math.sqrt(width) for vector in ahead]
            expected = sum(share * vector for share, vector in zip(softmax(scores), ahead, strict=True))
            assert_close(found[sequence, i], expected, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("name", ["learned_kernel", "depthwise_convolution", "attention_pooling"])
def test_they_begin_as_the_average(name: str) -> None:
    embeddings = random_embeddings(2, 90, 3).float()
    module = aggregators.build(name, n=7, width=3, shape=SHAPE)
    assert_close(module(embeddings), aggregators.build("average", n=7)(embeddings), atol=2e-6, rtol=0)


@pytest.mark.parametrize("horizon", [1, 3, 6])
def test_a_certain_horizon_is_the_mean_up_to_it(horizon: int) -> None:
    embeddings = random_embeddings(2, 20, 3)
    module: Any = aggregators.build("learned_horizon", n=6).double()
    with torch.no_grad():
        module.logits[horizon - 1] = 800.0
    plain = aggregators.build({"name": "window", "last": horizon}, n=6)(embeddings)
    assert_close(module(embeddings), plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    module, embeddings = drawn(name, 4, 3), random_embeddings(2, 9, 3).requires_grad_()
    weights = tuple(module.parameters())

    def apply(embeddings: Tensor, *_: Tensor) -> Tensor:
        result: Tensor = module(embeddings)
        return result

    assert torch.autograd.gradcheck(apply, (embeddings, *weights))


@pytest.mark.parametrize(("name", "what"), [("learned_kernel", "distance"), ("learned_horizon", "horizon")])
def test_the_future_loss_shows_the_distribution(name: str, what: str) -> None:
    objective = build(n=3, aggregator=name)
    with torch.no_grad():
        objective.aggregator.logits.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    found = objective.diagnostics(trace_of(*leaves()))
    assert [round(found[f"aggregator_probability_{k}"].item(), 6) for k in (1, 2, 3)] == [0.5, 0.3, 0.2]
    assert found[f"aggregator_expected_{what}"].item() == pytest.approx(0.5 + 2 * 0.3 + 3 * 0.2)
    entropy = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
    assert found["aggregator_entropy"].item() == pytest.approx(entropy, rel=1e-6)


def test_the_horizon_moves_to_what_can_be_predicted() -> None:
    """Where nothing but the next embedding can be known from the state, the horizon becomes one."""
    torch.manual_seed(0)
    # Cosines: squared errors are smallest for the longest mean, which varies least.
    parts = {"aggregator": "learned_horizon", "merge": "future_only", "predictor": "linear", "distance": "cosine"}
    objective = build(n=4, norm="none", norm_affine=False, **parts)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(200):
        embeddings = torch.randn(8, 12, 6)
        trace = trace_of(embeddings, embeddings.roll(-1, dims=1))
        optimizer.zero_grad()
        objective(trace)["loss"].backward()
        optimizer.step()
    found = objective.diagnostics(trace)
    assert found["aggregator_expected_horizon"] < 1.5
    assert found["aggregator_probability_1"] > 0.7


def test_they_train_within_the_network() -> None:
    model = small_model()
    for name in LEARNED:
        objective: Any = build(n=3, aggregator=name, shape=model.shape)
        objective(random_trace(model))["loss"].backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in objective.aggregator.parameters())
