"""Aggregators that are not trained against loops over positions, at any shape, horizon, and number of blocks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.trace import IGNORED, Shape
from objectives import aggregators
from objectives.aggregation import BLOCK, weighted_future, weighted_future_by_row
from tests.memory import allocations
from tests.models import small_model


def shares(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def bell(n: int, centre: float, spread: float) -> list[float]:
    return shares([math.exp(-((k - centre) ** 2) / (2 * spread**2)) for k in range(1, n + 1)])


# By the name of the aggregator, the weights of the distances 1 … n.
WEIGHTS: dict[str, Any] = {
    "average": lambda n: [1 / n for _ in range(n)],
    "decay": lambda n: [1 / k for k in range(1, n + 1)],
    "normalized_decay": lambda n: [1 / k / sum(1 / j for j in range(1, n + 1)) for k in range(1, n + 1)],
    "exponential": lambda n: shares([math.exp(-0.5 * k) for k in range(1, n + 1)]),
    "linear": lambda n: shares([n + 1 - k for k in range(1, n + 1)]),
    "gaussian": lambda n: bell(n, (n + 1) / 2, n / 4),
    "window": lambda n: [1 / n] * n,
    "last": lambda n: [0.0] * (n - 1) + [1.0],
}


def naive(embeddings: Tensor, weights: list[float]) -> Tensor:
    """Row i (from zero) is Σₖ weights[k] · embeddings[i + k]."""
    rows = embeddings.shape[1] - len(weights)
    result = torch.zeros(embeddings.shape[0], rows, embeddings.shape[2], dtype=torch.float64)
    for k, weight in enumerate(weights, start=1):
        result += weight * embeddings[:, k : k + rows].double()
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


@shapes
@example(batch=2, n=5, rows=BLOCK + 1, width=3)
@example(batch=1, n=130, rows=2 * BLOCK, width=2)
def test_each_row_may_have_weights_of_its_own(batch: int, n: int, rows: int, width: int) -> None:
    embeddings = random_embeddings(batch, n + rows, width)
    weights = random_embeddings(batch, rows, n)
    found = weighted_future_by_row(embeddings, weights)
    expected = sum(weights[:, :, k - 1 : k] * embeddings[:, k : k + rows] for k in range(1, n + 1))
    assert_close(found, expected, atol=1e-11, rtol=1e-11)


@shapes
def test_the_maximum_equals_the_loop(batch: int, n: int, rows: int, width: int) -> None:
    embeddings = random_embeddings(batch, n + rows, width)
    found = aggregators.build("maximum", n=n)(embeddings)
    expected = torch.stack([embeddings[:, i + 1 : i + 1 + n].amax(dim=1) for i in range(rows)], dim=1)
    assert_close(found, expected, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ({"name": "exponential", "rate": 0.0}, [1 / 5] * 5),
        ({"name": "exponential", "rate": 800.0}, [1, 0, 0, 0, 0]),
        ({"name": "gaussian", "centre": 2.5, "spread": 0.7}, bell(5, 2.5, 0.7)),
        ({"name": "gaussian", "centre": 5.0, "spread": 1e-3}, [0, 0, 0, 0, 1]),
        ({"name": "gaussian", "centre": 1000.0, "spread": 1e-3}, [0, 0, 0, 0, 1]),  # no e^-… is left by itself
        ({"name": "window", "first": 2}, [0, 1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ({"name": "window", "first": 2, "last": 4}, [0, 1 / 3, 1 / 3, 1 / 3, 0]),
        ({"name": "window", "first": 5}, [0, 0, 0, 0, 1]),
    ],
)
def test_parameters_shape_the_weights(spec: dict[str, Any], weights: list[float]) -> None:
    embeddings = random_embeddings(2, 12, 3)
    assert_close(aggregators.build(spec, n=5)(embeddings), naive(embeddings, weights), atol=1e-12, rtol=1e-12)


def test_a_window_must_lie_inside_the_horizon() -> None:
    with pytest.raises(UserError, match=r"^last: the window ends at the distance 6, beyond the horizon 5$"):
        aggregators.build({"name": "window", "last": 6}, n=5)
    with pytest.raises(UserError, match=r"^first: the window begins at the distance 4, after its end 3$"):
        aggregators.build({"name": "window", "first": 4, "last": 3}, n=5)


def rarity_weighted(n: int, counts: list[int]) -> Any:
    model = small_model(vocabulary=len(counts))
    aggregator: Any = aggregators.build("idf", n=n, width=3, shape=model.shape)
    aggregator.prepare(Preparation(model, lambda: torch.tensor(counts)))
    return aggregator


@shapes
def test_rare_tokens_weigh_more_as_the_loop_says(batch: int, n: int, rows: int, width: int) -> None:
    counts = [1000, 0, 50, 3]
    smoothed = [count + 1 for count in counts]
    surprisal = [-math.log(count / sum(smoothed)) for count in smoothed]
    embeddings = random_embeddings(batch, n + rows, width)
    tokens = torch.randint(4, (batch, n + rows), generator=torch.Generator().manual_seed(rows))
    found = rarity_weighted(n, counts)(embeddings, tokens)
    assert surprisal[1] > surprisal[3] > surprisal[2] > surprisal[0] > 0
    for sequence in range(batch):
        for i in range(0, rows, max(1, rows // 5)):
            weights = [surprisal[int(tokens[sequence, i + k])] for k in range(1, n + 1)]
            weighted = sum(w * embeddings[sequence, i + k] for k, w in enumerate(weights, start=1))
            assert_close(found[sequence, i], weighted / sum(weights), atol=1e-11, rtol=1e-11)


def test_without_counts_all_tokens_weigh_the_same() -> None:
    embeddings, tokens = random_embeddings(2, 12, 3), torch.randint(7, (2, 12))
    plain = aggregators.build("average", n=4)(embeddings)
    unprepared = aggregators.build("idf", n=4, shape=Shape(vocabulary=7, width=3, context=12, heads=1))
    assert_close(unprepared(embeddings, tokens), plain, atol=1e-12, rtol=0)
    assert_close(rarity_weighted(4, [5] * 7)(embeddings, tokens), plain, atol=1e-12, rtol=0)


def test_what_lies_past_the_text_weighs_nothing() -> None:
    embeddings, tokens = random_embeddings(1, 6, 3), torch.tensor([[0, 1, 2, 1, IGNORED, IGNORED]])
    found = rarity_weighted(2, [9, 4, 1])(embeddings, tokens)
    assert_close(found[:, 2], embeddings[:, 3], atol=1e-12, rtol=0)
    assert_close(found[:, 3], torch.zeros(1, 3, dtype=torch.float64), atol=0, rtol=0)


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
    read = embeddings.grad[0, :, 0].nonzero().flatten().tolist()
    assert read == ([row + 4] if name == "last" else [row + 1, row + 2, row + 3, row + 4])


def test_all_agree_where_only_one_position_is_ahead() -> None:
    embeddings = random_embeddings(2, 9, 3)
    for name in WEIGHTS:
        assert_close(aggregators.build(name, n=1)(embeddings), embeddings[:, 1:], atol=0, rtol=0)


@pytest.mark.parametrize("name", WEIGHTS)
def test_nothing_is_trained_or_stored(name: str) -> None:
    module = aggregators.build(name, n=5)
    assert list(module.parameters()) == []
    assert module.state_dict() == {}


@pytest.mark.parametrize("name", aggregators.names())
def test_nothing_of_size_time_by_time_is_built(name: str) -> None:
    embeddings, tokens = torch.randn(1, 4000, 2), torch.zeros(1, 4000, dtype=torch.int64)
    module = aggregators.build(name, n=16, width=2, shape=Shape(vocabulary=5, width=2, context=4000, heads=1))
    assert max(allocations(lambda: module(embeddings, tokens))) < 4 * 4000 * 4000 / 30
