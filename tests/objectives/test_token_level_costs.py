"""The costs that the token-level objectives document, against those counted from the modules."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from deepsight.counting import Cost, cost_of
from deepsight.presets import load_run

C, V, T = 32, 257, 24


def cost(objective: Any) -> Cost:
    changes = {"model.width": C, "model.context": T, "model.layers": [1, 1], "data.tokenizer": "bytes"}
    return cost_of(load_run("tiny", {**changes, "objective": objective}))


@functools.cache
def cost_without() -> Cost:
    return cost("none")


BLOCK = (72 * C**2 + 14 * T * C, 12 * C**2 + 3 * C)
LOGITS = 6 * C * V


@pytest.mark.parametrize(
    ("objective", "flops", "parameters"),
    [
        ({"name": "multi_token", "n": 1}, 0, 0),
        ({"name": "multi_token", "n": 3, "head": "linear"}, 2 * (LOGITS + 6 * C**2), 2 * C**2),
        ({"name": "multi_token", "n": 3}, 2 * (LOGITS + BLOCK[0]), 2 * BLOCK[1]),
        ("bag_of_words", LOGITS, C * V + V),
        ({"name": "bag_of_words", "head": "block", "tau": 20}, LOGITS + BLOCK[0], C * V + V + BLOCK[1]),
        ("token_order", LOGITS, C * V),
        (
            {"name": "sequential_modules", "depth": 2},
            2 * (LOGITS + 84 * C**2 + 14 * T * C),
            2 * (14 * C**2 + 5 * C),
        ),
    ],
)
def test_the_documented_cost_is_the_counted_one(objective: Any, flops: int, parameters: int) -> None:
    plain, found = cost_without(), cost(objective)
    assert found.training_only == parameters
    assert found.training_flops_per_token - plain.training_flops_per_token == pytest.approx(flops, abs=1)
    assert found.inference == plain.inference
    assert found.inference_flops_per_token == plain.inference_flops_per_token
