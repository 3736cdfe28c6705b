"""Evaluation against a loop over windows and positions."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.data.batches import Batch, ValidationWindows
from deepsight.evaluation.losses import evaluate
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED
from tests.models import lively, small_model

BYTES = torch.arange(31, dtype=torch.float32) % 5


@pytest.fixture
def windows() -> ValidationWindows:
    tokens = np.random.default_rng(0).integers(31, size=100, dtype=np.uint16)
    return ValidationWindows(tokens, context=12, count=7)


def measured(model: Architecture, built: Objectives, windows: Any, batch_size: int) -> dict[str, float]:
    return evaluate(
        model,
        built,
        windows,
        batch_size=batch_size,
        token_bytes=BYTES,
        device=torch.device("cpu"),
        autocast=contextlib.nullcontext(),
    )


def future_context(model: Architecture) -> Objectives:
    return Objectives([{"coefficient": 0.5, **objectives.resolve({"name": "future_context", "n": 3})}], model.shape, 0)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_losses_equal_the_loop(windows: ValidationWindows, batch_size: int) -> None:
    model = lively(small_model(dropout=0.5)).double()
    built = future_context(model).double()
    found = measured(model, built, windows, batch_size)
    assert model.training
    assert built.training
    for module in (model.eval(), built):
        module.requires_grad_(False)
    nats, counted, text_bytes, auxiliary = 0.0, 0, 0.0, 0.0
    for inputs, targets, _ in windows.batches(1):
        for position, logits in enumerate(model.logits(inputs)[0]):
            target = int(targets[0, position])
            nats += float(torch.logsumexp(logits, 0) - logits[target])
            text_bytes += float(BYTES[target])
            counted += 1
        seen = built.seen("future_context", model(inputs, targets))
        auxiliary += float(built.parts["future_context"](seen)["loss"])
    assert counted == 7 * 12
    assert found["validation_loss"] == pytest.approx(nats / counted, rel=1e-9)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / text_bytes, rel=1e-9)
    assert found["future_context/loss"] == pytest.approx(auxiliary / 7, rel=1e-9)
    assert "future_context/prediction_variance" in found


def test_diagnostics_are_those_of_the_first_batch(windows: ValidationWindows) -> None:
    model = small_model()
    built = future_context(model)
    found = measured(model, built, windows, batch_size=3)
    trace = model(*next(windows.batches(3))[:2])
    for name, value in built.diagnostics(trace).items():
        assert found[name] == value.item()


def test_ignored_targets_do_not_count() -> None:
    class OneWindow(ValidationWindows):
        def __init__(self) -> None:
            self.context, self._end_of_text = 12, None

        def batches(self, batch_size: int) -> Any:
            targets = torch.arange(12)[None].clone()
            targets[0, 6:] = IGNORED
            yield Batch(torch.arange(12)[None], targets)

    model = lively(small_model())
    found = measured(model, Objectives([], model.shape, 0), OneWindow(), 1)
    logits = model.logits(torch.arange(12)[None])[0, :6].double()
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    assert_close(found["validation_loss"], expected.item(), atol=1e-5, rtol=0)
    assert found["bits_per_byte"] == pytest.approx(found["validation_loss"] * 6 / BYTES[:6].sum().item() / math.log(2))
