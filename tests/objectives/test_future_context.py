"""The published future loss: what it reads, what it teaches, and what it says of itself.

Its value is checked against a loop in tests/reference/test_formulas.py, and how it collapses in test_collapse.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from deepsight.errors import UserError
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from objectives.future_context import FutureContext

SHAPE = Shape(vocabulary=5, width=6, context=12, heads=1)


def trace_of(embeddings: Tensor, encoded: Tensor) -> Trace:
    tokens = torch.zeros(embeddings.shape[:2], dtype=torch.int64)
    return Trace(tokens, tokens, embeddings, encoded, encoded, torch.zeros(5, embeddings.shape[-1]))


def leaves(time: int = 12) -> tuple[Tensor, Tensor]:
    embeddings, encoded = torch.randn(2, 2, time, 6, generator=torch.Generator().manual_seed(0)).unbind()
    return embeddings.requires_grad_(), encoded.clone().requires_grad_()


def build(shape: Shape = SHAPE, **parameters: Any) -> FutureContext:
    built: Any = objectives.build({"name": "future_context", **parameters}, shape=shape)
    return built


@pytest.mark.parametrize("norm", ["none", "before", "after", "both"])
@pytest.mark.parametrize("affine", [True, False])
def test_the_targets_side_teaches_its_norms_alone(norm: str, affine: bool) -> None:
    embeddings, encoded = leaves()
    objective = build(n=3, norm=norm, norm_affine=affine)
    objective(trace_of(embeddings, encoded))["loss"].backward()
    assert embeddings.grad is None
    assert encoded.grad is not None
    norms = {"none": 1, "before": 2, "after": 2, "both": 3}[norm]
    parameters = list(objective.parameters())
    assert len(parameters) == (2 * norms if affine else 0)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in parameters)


@pytest.mark.parametrize("n", [1, 5, 11])
def test_positions_without_n_successors_do_not_count(n: int) -> None:
    embeddings, encoded = leaves()
    build(n=n)(trace_of(embeddings, encoded))["loss"].backward()
    assert encoded.grad is not None
    counted = encoded.grad.abs().sum(dim=(0, 2)) > 0
    assert counted.tolist() == [position < 12 - n for position in range(12)]


def test_the_constructor_has_the_published_choice() -> None:
    direct, built = FutureContext(SHAPE), build()
    assert direct.n == built.n == 11
    trace = trace_of(*leaves())
    assert torch.equal(direct(trace)["loss"], built(trace)["loss"])


@pytest.mark.parametrize("n", [12, 100])
def test_a_horizon_beyond_the_context_is_an_error(n: int) -> None:
    with pytest.raises(UserError, match=rf"^n: the horizon {n} needs a context longer than 12$"):
        build(n=n)


def test_a_window_too_short_for_the_horizon_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^n: the horizon 5 needs a window longer than 5$"):
        build(n=5)(trace_of(*leaves(time=5)))


def test_diagnostics_describe_both_sides() -> None:
    objective = build(n=3, norm="both")
    with torch.no_grad():
        objective.encoder_norm.weight.fill_(-0.5)
        objective.embedding_norm.weight.fill_(2.0)
        objective.context_norm.weight.fill_(4.0)
    found = objective.diagnostics(trace_of(*leaves()))
    assert found["prediction_gain"].item() == 0.5
    assert found["target_gain"].item() == 3.0
    # Layer norm gives unit variance over dimensions; over positions it is near that here.
    assert found["prediction_variance"].item() == pytest.approx(0.25, rel=0.2)
    assert 4**2 > found["target_variance"].item() > 4
    for side in ("prediction", "target"):
        assert 3 < found[f"{side}_effective_rank"].item() <= 6
    assert not any(value.requires_grad for value in found.values())


def test_without_affine_norms_there_is_no_gain_to_show() -> None:
    found = build(n=3, norm_affine=False).diagnostics(trace_of(*leaves()))
    assert not any("gain" in name for name in found)
    of_sides = ("variance", "smallest_variance", "effective_rank", "mean_cosine")
    assert set(found) == {
        "loss_over_trivial",
        *(f"{side}_{what}" for side in ("prediction", "target") for what in of_sides),
    }


def test_bfloat16_autocast_stays_near() -> None:
    embeddings, encoded = leaves()
    objective = build(n=3)
    exact = objective(trace_of(embeddings, encoded))["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = objective(trace_of(embeddings, encoded.bfloat16().float()))["loss"]
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
