"""Targets, past the window too, and predictors, against what they are said to be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from deepsight.errors import UserError
from deepsight.plug_ins import objectives, predictors, targets
from deepsight.trace import IGNORED, Trace
from tests.models import random_tokens, small_model

PLAIN = {"name": "future_context", "n": 3, "aggregator": "average", "merge": "future_only", "norm": "none"}


def window(positions: str = "rotary", ended: int = 0) -> tuple[Trace, Tensor]:
    """Return the trace of a window with three tokens after it, and all tokens; the last `ended` lie past the text."""
    model = small_model(positions=positions, dropout=0.5)
    tokens = random_tokens(model, 2, 12 + 3)
    tokens[:, 15 - ended :] = IGNORED
    trace = model(tokens[:, :12].clone(), tokens[:, 1:13].clone())
    return dataclasses.replace(trace, later=tokens[:, 13:]), tokens


def built(name: str, trace: Trace, **shape: Any) -> Any:
    model = small_model(**shape)
    return targets.build(name, shape=model.shape)


def test_token_embeddings_are_rows_of_the_output_matrix() -> None:
    trace, tokens = window()
    target = built("token_embeddings", trace)
    assert torch.equal(target(trace, 0), trace.unembedding[tokens[:, :12]])
    assert torch.equal(target(trace, 3), trace.unembedding[tokens])
    assert not target(trace, 3).requires_grad


def test_input_embeddings_are_what_the_network_read() -> None:
    trace, tokens = window()
    target = built("input_embeddings", trace, positions="rotary")
    assert torch.equal(target(trace, 0), trace.input_embeddings)
    assert torch.equal(target(trace, 3)[:, :12], trace.input_embeddings)
    assert torch.equal(target(trace, 3)[:, 12:], trace.unembedding[tokens[:, 12:]])
    assert not target(trace, 3).requires_grad


def test_an_average_of_the_bag_of_words_counts_the_words() -> None:
    trace, tokens = window()
    objective: Any = objectives.build(
        {**PLAIN, "target": "bag_of_words", "predictor": "linear", "window": "extend"}, shape=small_model().shape
    )
    _, target = objective.sides(trace)
    assert target.shape == (2, 12, 31)
    for row in range(12):
        for sequence in range(2):
            counts = torch.bincount(tokens[sequence, row + 1 : row + 4], minlength=31)
            assert_close(target[sequence, row], counts / 3, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["token_embeddings", "input_embeddings", "bag_of_words"])
def test_past_the_end_of_the_text_a_vector_is_zero(name: str) -> None:
    trace, _ = window(ended=2)
    vectors = built(name, trace, positions="rotary")(trace, 3)
    assert not vectors[:, 13:].any()
    assert vectors[:, :13].any(dim=-1).all()


def test_an_extended_window_is_a_part_of_a_longer_one() -> None:
    trace, tokens = window()
    for aggregator in ("average", "idf"):
        spec = {**PLAIN, "target": "token_embeddings", "aggregator": aggregator, "window": "extend"}
        objective: Any = objectives.build(spec, shape=small_model().shape)
        assert objective.lookahead == 2
        _, target = objective.sides(trace)
        assert target.shape[1] == 12
        vectors = F.embedding(tokens, trace.unembedding)
        expected = sum(vectors[:, k : k + 12] for k in (1, 2, 3)) / 3
        assert_close(target, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["input_embeddings", "teacher"])
def test_a_target_without_vectors_past_the_window_cannot_be_extended(name: str) -> None:
    message = (
        rf"^window: .*the target '{name}' has no vectors of tokens past the window of .*: choose trim, or the target "
    )
    with pytest.raises(UserError, match=message):
        objectives.build({**PLAIN, "target": name, "window": "extend"}, shape=small_model().shape)


def test_a_target_of_another_width_needs_a_predictor() -> None:
    message = r"^predictor: this target is 31 wide and the network 16: choose the predictor linear or mlp$"
    with pytest.raises(UserError, match=message):
        objectives.build({**PLAIN, "target": "bag_of_words"}, shape=small_model().shape)


def test_predictors_are_what_their_formulas_say() -> None:
    states = torch.randn(2, 5, 4)
    assert torch.equal(predictors.build("none", width=4, target_width=4)(states), states)
    linear: Any = predictors.build("linear", width=4, target_width=7)
    assert_close(linear(states), states @ linear.weight.T)
    mlp: Any = predictors.build({"name": "mlp", "expansion": 3}, width=4, target_width=7)
    assert mlp.expand.weight.shape == (12, 4)
    assert_close(mlp(states), F.gelu(states @ mlp.expand.weight.T) @ mlp.output.weight.T)
