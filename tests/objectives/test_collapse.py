"""Which future losses can be lowered without learning anything of the future, and which cannot.

A small model is trained for a short time, and both sides are looked at on text that it has not seen. In a collapse
the loss falls by orders of magnitude because both sides shrink to a point; measured against the prediction that says
the same everywhere, it falls little.
"""

from __future__ import annotations

import functools
import json
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from deepsight.config import TrainingConfig
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients
from tests.models import small_model
from tests.typechecking import unchecked

VOCABULARY, CONTEXT, STEPS = 31, 24, 120
SIDES = ("prediction", "target")
TEACHER = {"name": "teacher", "decay": 0.99}

# What changes of the published choice, by what it is called here.
COLLAPSING: dict[str, dict[str, Any]] = {
    "as published": {},
    "a predictor does not help where the target's norm has a gain": {"predictor": "mlp"},
    "nor does a teacher": {"target": TEACHER},
}
HOLDING: dict[str, dict[str, Any]] = {
    "no gains": {"norm_affine": False},
    "a predictor and no gains": {"norm_affine": False, "predictor": "mlp"},
    "a teacher without norm on it": {"target": TEACHER, "norm": "none"},
    "standardise": {"normaliser": "standardise"},
    "whiten": {"normaliser": "whiten"},
    "info_nce": {"distance": "info_nce"},
    "vicreg": {"distance": "vicreg"},
    "barlow": {"distance": "barlow"},
    "correlation": {"distance": "correlation"},
}


def text(generator: torch.Generator, batch: int) -> Tensor:
    """Return walks around a circle of tokens, one or two steps at a time: half of the next token can be known."""
    steps = torch.randint(1, 3, (batch, CONTEXT + 1), generator=generator)
    return (torch.randint(VOCABULARY, (batch, 1), generator=generator) + steps.cumsum(dim=1)) % VOCABULARY


@functools.cache
def trained(changes: str) -> tuple[list[float], dict[str, float]]:
    """Train; return the losses, and the diagnostics on new text before (``start_…``) and after."""
    model = small_model(vocabulary=VOCABULARY, context=CONTEXT, layers=[1, 1])
    spec = {"name": "future_context", "n": 3, **json.loads(changes)}
    built = Objectives([{"coefficient": 1.0, **objectives.resolve(spec)}], model.shape, seed=0)
    built.prepare(Preparation(model, lambda: torch.ones(VOCABULARY, dtype=torch.int64)))
    optimizer = build_optimizer([model, built], TrainingConfig(steps=STEPS, batch_size=8, learning_rate=2e-2))
    generator, new = torch.Generator().manual_seed(0), text(torch.Generator().manual_seed(99), 16)

    def diagnostics() -> dict[str, float]:
        with torch.no_grad():
            found = built.diagnostics(model(new[:, :-1], new[:, 1:]))
        return {name.removeprefix("future_context/"): float(value) for name, value in found.items()}

    start, losses = diagnostics(), []
    for step in range(STEPS):
        tokens = text(generator, 8)
        with nullcontext() if step == 0 else unchecked():
            metrics = accumulate_gradients(model, built, tokens[:, :-1], tokens[:, 1:], seed=0, step=step)
        losses.append(metrics["future_context/loss"].item())
        optimizer.step()
        optimizer.zero_grad()
        built.after_step(model)
    return losses, {**{f"start_{name}": value for name, value in start.items()}, **diagnostics()}


def outcome(changes: dict[str, Any]) -> tuple[float, float, dict[str, float]]:
    """Return the first loss, the mean of the last ten, and the diagnostics."""
    losses, found = trained(json.dumps(changes))
    return losses[0], sum(losses[-10:]) / 10, found


@pytest.mark.parametrize("changes", COLLAPSING.values(), ids=COLLAPSING)
def test_both_sides_shrink_to_a_point(changes: dict[str, Any]) -> None:
    first, last, found = outcome(changes)
    # Measured: the loss falls 480 to 2,400 times, the variances to 0.0003 to 0.005 from 0.69 to 0.93.
    assert last < first / 100
    assert found["start_target_variance"] > 0.5
    for side in SIDES:
        assert found[f"{side}_variance"] < 0.02
    assert found["target_gain"] < 0.25
    # The mean target would now be nearly as good: 0.41 to 0.57 of the loss of that prediction is left.
    assert found["loss_over_trivial"] > 0.2


def test_as_published_both_gains_and_the_loss_fall_together() -> None:
    _, last, found = outcome({})
    assert found["start_prediction_gain"] == found["start_target_gain"] == 1
    assert found["prediction_gain"] < 0.2
    assert found["target_gain"] < 0.2
    # Far below what the best constant had to pay in the beginning, and yet hardly below what it has to pay now.
    assert last < found["start_target_variance"] / 100
    assert 0.2 < found["loss_over_trivial"] < 1
    losses, _ = trained(json.dumps({}))
    thirds = [sum(losses[start : start + STEPS // 3]) for start in range(0, STEPS, STEPS // 3)]
    assert thirds[0] > 4 * thirds[1] > 16 * thirds[2]


def test_a_cosine_is_satisfied_by_the_bias_of_the_norms() -> None:
    """No scale can be gained by shrinking, but where gains fall below biases all vectors point the same way."""
    first, last, found = outcome({"distance": "cosine"})
    assert last < first / 30
    for side in SIDES:
        assert found[f"{side}_mean_cosine"] > 0.7 > 0.4 > found[f"start_{side}_mean_cosine"]
        assert found[f"{side}_smallest_variance"] < 1e-4
    assert found["target_gain"] < 0.5
    assert outcome({"distance": "correlation"})[2]["target_mean_cosine"] < 0.1


@pytest.mark.parametrize("changes", HOLDING.values(), ids=HOLDING)
def test_what_cannot_shrink_must_learn(changes: dict[str, Any]) -> None:
    _, _, found = outcome(changes)
    for side in SIDES:
        # Measured: variances from 0.31 (teacher) to 1.2, effective ranks of 16 from 7.1 (predictor, no gains) to 15.
        assert found[f"{side}_variance"] > 0.2
        assert found[f"{side}_effective_rank"] > 5
        assert found.get(f"{side}_gain", 1.0) > 0.6
    # The loss itself fell: at most 0.25 of that of a constant prediction is left.
    assert found["loss_over_trivial"] < 0.35
    assert found["start_loss_over_trivial"] > 0.9
