"""The sibling's embedding loss against a loop in float64: its value, what it teaches, and how it collapses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.plug_ins import objectives
from deepsight.testing.systems import Subject, System
from deepsight.trace import Shape, Trace
from objectives.embedding import EmbeddingLoss
from tests.typechecking import unchecked

Vector = np.ndarray[Any, np.dtype[np.float64]]
NORMS, DISTANCES, DETACHED = (
    ("none", "before", "after"),
    ("mse", "cosine", "log_cosine"),
    ("none", "target", "prediction"),
)
COMBINATIONS = list(itertools.product(NORMS, (False, True), DISTANCES))


def build(width: int = 6, **parameters: Any) -> Any:
    return objectives.build({"name": "embedding", **parameters}, shape=Shape(5, width, 12, 1))


def trace_of(embeddings: Tensor, encoded: Tensor) -> Trace:
    tokens = torch.zeros(embeddings.shape[:2], dtype=torch.int64)
    return Trace(tokens, tokens, embeddings, encoded, torch.zeros_like(encoded), embeddings[0, :1], state=encoded)


def leaves() -> tuple[Tensor, Tensor]:
    embeddings, encoded = torch.randn(2, 2, 9, 6, generator=torch.Generator().manual_seed(0))
    return embeddings.requires_grad_(), encoded.clone().requires_grad_()


def layer_norm(vector: Vector, gain: Vector, bias: Vector) -> Vector:
    centred = vector - vector.mean()
    return centred / math.sqrt((centred**2).mean() + 1e-5) * gain + bias


def naive_loss(
    embeddings: Vector, encoded: Vector, weights: Vector, norm: str, prediction_norm: bool, distance: str
) -> float:
    """Loop over sequences and all their positions; `weights` are gain and bias of both norms."""
    values = []
    for sequence, states in zip(embeddings, encoded, strict=True):
        for position, state in enumerate(states):
            read = [layer_norm(e, *weights[2:]) if norm == "before" else e for e in sequence[: position + 1]]
            target = sum(read) / len(read)
            if norm == "after":
                target = layer_norm(target, *weights[2:])
            prediction = layer_norm(state, *weights[:2]) if prediction_norm else state
            if distance == "mse":
                values.append(((prediction - target) ** 2).mean())
                continue
            cosine = prediction @ target / math.sqrt((prediction @ prediction) * (target @ target))
            values.append(1 - (cosine + 1) / 2 if distance == "cosine" else -math.log((cosine + 1) / 2))
    return float(np.mean(values))


@given(
    combination=st.sampled_from(COMBINATIONS),
    detach=st.sampled_from(DETACHED),
    batch=st.integers(1, 3),
    time=st.integers(1, 12),
    width=st.integers(2, 6),
    seed=st.integers(0, 99),
)
def test_the_loss_equals_the_loop(
    combination: tuple[str, bool, str], detach: str, batch: int, time: int, width: int, seed: int
) -> None:
    norm, prediction_norm, distance = combination
    draw = np.random.default_rng(seed)
    embeddings, encoded = draw.normal(size=(2, batch, time, width))
    weights = draw.normal(1, 0.3, size=(4, width))
    objective = build(width, norm=norm, prediction_norm=prediction_norm, distance=distance, detach=detach).double()
    for part, (gain, bias) in ((objective.encoder_norm, weights[:2]), (objective.target_norm, weights[2:])):
        if list(part.parameters()):
            part.load_state_dict({"weight": torch.tensor(gain), "bias": torch.tensor(bias)})
    found = objective(trace_of(torch.tensor(embeddings), torch.tensor(encoded)))["loss"].item()
    expected = naive_loss(embeddings, encoded, weights, norm, prediction_norm, distance)
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("detach", DETACHED)
def test_one_side_is_detached_and_its_norm_learns_all_the_same(norm: str, detach: str) -> None:
    embeddings, encoded = leaves()
    objective = build(norm=norm, detach=detach)
    objective(trace_of(embeddings, encoded))["loss"].backward()
    assert (embeddings.grad is None) == (detach == "target")
    assert (encoded.grad is None) == (detach == "prediction")
    weights = list(objective.parameters())
    assert len(weights) == (2 if norm == "none" else 4)
    assert all(weight.grad is not None and weight.grad.any() for weight in weights)


@pytest.mark.parametrize("norm", NORMS)
def test_a_row_of_the_target_is_of_what_was_read(norm: str) -> None:
    embeddings, encoded = leaves()
    objective = build(norm=norm, detach="none")
    prediction, target = objective.sides(trace_of(embeddings, encoded))
    assert prediction.shape == target.shape == (2, 9, 6)
    # A layer norm's outputs add up to zero, so their plain sum would have no gradient.
    (gradient,) = torch.autograd.grad(target[:, 4].square().sum(), embeddings)
    assert (gradient.abs().sum(dim=(0, 2)) > 0).tolist() == [True] * 5 + [False] * 4


def test_the_state_is_that_of_its_place() -> None:
    """It reads the encoder output unless a run says otherwise."""
    assert EmbeddingLoss.attach == "encoder"
    subject = Subject("embedding", System("encoder_decoder"))
    trace = subject.trace()
    own = subject.objectives.parts["embedding"]
    state = own.encoder_norm(trace.encoder_output)
    assert torch.equal(own.sides(subject.objectives.seen("embedding", trace))[0], state)


def test_norms_without_gains_have_nothing_to_train() -> None:
    assert list(build(norm_affine=False).parameters()) == []
    found = build(norm_affine=False).diagnostics(trace_of(*leaves()))
    assert not any("gain" in name for name in found)


def test_diagnostics_tell_the_norms_of_both_sides_apart() -> None:
    objective = build()
    with torch.no_grad():
        objective.encoder_norm.weight.fill_(-0.5)
        objective.target_norm.weight.fill_(2.0)
    found = objective.diagnostics(trace_of(*leaves()))
    assert found["prediction_gain"].item() == 0.5
    assert found["target_gain"].item() == 2.0
    assert "target_gain" not in build(norm="none").diagnostics(trace_of(*leaves()))


def test_as_published_it_collapses_and_without_gains_it_cannot() -> None:
    def trained(**parameters: Any) -> tuple[float, dict[str, float]]:
        subject = Subject({"name": "embedding", **parameters}, System("encoder_decoder"))
        with unchecked():
            losses = subject.train(250)
        found = subject.objectives.diagnostics(subject.trace())
        return losses[-1] / losses[0], {name.removeprefix("embedding/"): float(v) for name, v in found.items()}

    fallen, found = trained()
    assert fallen < 1 / 20
    assert max(found["prediction_gain"], found["target_gain"]) < 0.5
    assert found["target_variance"] < 0.1
    _, found = trained(norm_affine=False)
    assert found["target_variance"] > 0.3
