"""Prediction of future representations: its value against a loop, its teacher, and what learns."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.config import TrainingConfig
from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import Trace
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients
from objectives.representation import Representation
from tests.models import lively, random_trace, small_model
from tests.objectives.states import END, SHAPE, WIDTH, counts_ahead, filled, flops, free_trace
from tests.typechecking import unchecked


def build(**parameters: Any) -> Representation:
    built: Any = objectives.build({"name": "representation", **parameters}, shape=SHAPE)
    return filled(built)


def of_run(model: Architecture, **parameters: Any) -> tuple[Objectives, Representation]:
    spec = {"coefficient": 1.0, **objectives.resolve({"name": "representation", **parameters})}
    run = Objectives([spec], model.shape, seed=0)
    run.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64)))
    part: Any = run.parts["representation"]
    return run, part


def normed(vector: Tensor) -> Tensor:
    centred = vector - vector.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt()


def disagreement(distance: str, prediction: list[float], target: list[float]) -> float:
    gaps = [abs(a - b) for a, b in zip(prediction, target, strict=True)]
    if distance == "mse":
        return sum(gap**2 for gap in gaps) / len(gaps)
    return sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps) / len(gaps)


def looped(objective: Representation, trace: Trace, n: int, layers: int, distance: str) -> float:
    """Return the loss of a network that teaches itself, position by position, with a linear predictor."""
    batch, time = trace.tokens.shape
    weight, found = objective.predictor.weight.detach(), []
    for row in range(batch):
        seen = [[normed(layer[row, t].detach()) for layer in trace.layers[-layers:]] for t in range(time)]
        y = [sum(of_layers) / len(of_layers) for of_layers in seen]
        for t in range(time - n):
            if counts_ahead(trace, row, t, n):
                target = sum(y[t + k] for k in range(1, n + 1)) / n
                predicted = weight @ trace.decoder_output[row, t].detach()
                found.append(disagreement(distance, predicted.tolist(), target.tolist()))
    return sum(found) / max(1, len(found))


@given(
    batch=st.integers(1, 3),
    n=st.integers(1, 4),
    longer=st.integers(1, 4),
    layers=st.integers(1, 9),
    distance=st.sampled_from(["mse", "smooth_l1"]),
    prompt=st.integers(0, 3),
    end=st.sampled_from([None, END]),
)
def test_the_loss_is_that_of_a_loop(
    batch: int, n: int, longer: int, layers: int, distance: str, prompt: int, end: int | None
) -> None:
    objective = build(n=n, teacher="self", layers=layers, distance=distance, predictor="linear")
    trace = free_trace(batch, n + longer, prompt=prompt, end=end, seed=longer)
    expected = looped(objective, trace, n, layers, distance)
    assert objective(trace)["loss"].item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_a_window_that_does_not_count_costs_nothing() -> None:
    trace, objective = free_trace(prompt=6), build(n=2, teacher="self")
    loss = objective(trace)["loss"]
    loss.backward()
    assert loss == 0
    assert trace.decoder_output.grad is not None
    assert not trace.decoder_output.grad.any()


def test_a_network_that_teaches_itself_learns_through_its_prediction_alone() -> None:
    trace, objective = free_trace(), build(n=2, teacher="self")
    objective(trace)["loss"].backward()
    assert all(layer.grad is None for layer in trace.layers)
    assert trace.decoder_output.grad is not None
    taught = trace.decoder_output.grad.abs().sum(dim=(0, 2)) > 0
    assert taught.tolist() == [True] * 4 + [False] * 2


def test_the_target_comes_from_the_teacher_and_the_prediction_from_the_network() -> None:
    model = lively(small_model(dtype=torch.float64))
    run, part = of_run(model, n=3, layers=2)
    run.double()
    trace = random_trace(model)
    before = part.sides(run.seen("representation", trace))
    lively(model, seed=1)
    changed = model(trace.tokens, trace.targets)
    after = part.sides(run.seen("representation", changed))
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0], after[0])
    own = torch.stack([torch.nn.functional.layer_norm(layer, (16,)) for layer in trace.layers[2:]]).mean(dim=0)
    expected = torch.stack([own[:, 1:10], own[:, 2:11], own[:, 3:12]]).mean(dim=0)
    torch.testing.assert_close(before[1], expected, rtol=1e-10, atol=1e-12)


def test_the_teacher_follows_with_a_decay_that_rises() -> None:
    model = small_model(dtype=torch.float64)
    run, part = of_run(model, decay=0.5, final_decay=0.9, ramp=0.5)
    assert part.teacher is not None
    assert part.teacher.network is not None
    expected = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    # Shares of the steps done, and the decay that a straight line from 0.5 to 0.9 has there.
    for step, (share, decay) in enumerate([(0.0, 0.5), (0.25, 0.7), (0.5, 0.9), (0.75, 0.9)]):
        run.progress(share)
        lively(model, seed=step)
        run.after_step(model)
        for name, weight in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * weight.detach()
        for name, weight in part.teacher.network.named_parameters():
            torch.testing.assert_close(weight, expected[name], rtol=1e-12, atol=1e-14)
    run.progress(0.1)
    assert part.teacher.decay == pytest.approx(0.58)


def test_without_a_ramp_the_final_decay_holds_from_the_start() -> None:
    run, part = of_run(small_model(), ramp=0.0)
    run.progress(0.0)
    assert part.teacher is not None
    assert part.teacher.decay == pytest.approx(0.9999)


@pytest.mark.parametrize("teacher", ["ema", "self"])
def test_extra_parameters_are_the_predictors_and_the_teachers(teacher: str) -> None:
    model = small_model()
    run, _ = of_run(model, teacher=teacher)
    trained = sum(weight.numel() for weight in run.parameters() if weight.requires_grad)
    fixed = sum(weight.numel() for weight in run.parameters() if not weight.requires_grad)
    copied = sum(weight.numel() for weight in model.parameters())
    assert (trained, fixed) == (4 * 16 * 16, copied if teacher == "ema" else 0)


@pytest.mark.parametrize("teacher", ["ema", "self"])
def test_beside_the_next_token_loss_nothing_collapses(teacher: str) -> None:
    """Text whose next token is known: the prediction becomes right while the targets go on differing."""
    torch.manual_seed(0)
    model = small_model(context=16, layers=[1, 1])
    run, _ = of_run(model, teacher=teacher, n=2, decay=0.9, final_decay=0.9)
    optimizer = build_optimizer([model, run], TrainingConfig(steps=100, batch_size=8, learning_rate=1e-2))
    for step in range(100):
        tokens = (torch.randint(model.vocabulary, (8, 1)) + torch.arange(17) * 3) % model.vocabulary
        with nullcontext() if step == 0 else unchecked():
            accumulate_gradients(model, run, tokens[:, :-1], tokens[:, 1:], seed=0, step=step)
        optimizer.step()
        optimizer.zero_grad()
        run.after_step(model)
    trace = model(tokens[:, :-1], tokens[:, 1:])
    found = {name.removeprefix("representation/"): value.item() for name, value in run.diagnostics(trace).items()}
    assert found["loss_over_trivial"] < 0.5
    assert found["target_variance"] > 0.1
    assert found["target_effective_rank"] > 4
    assert found["target_mean_cosine"] < 0.5


def test_a_horizon_beyond_context_or_window_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^n: the horizon 16 needs a context longer than 16$"):
        build(n=16)
    with pytest.raises(UserError, match=r"^n: the horizon 6 needs a window longer than 6$"):
        build(n=6, teacher="self")(free_trace(time=6))


def test_the_state_at_another_place_may_predict() -> None:
    trace, objective = free_trace(), build(n=2, teacher="self")
    objective(dataclasses.replace(trace, state=trace.layers[1]))["loss"].backward()
    assert trace.decoder_output.grad is None
    assert trace.layers[1].grad is not None


def test_the_predictor_costs_what_is_documented() -> None:
    objective, trace = build(n=2, teacher="self", aggregator="maximum"), free_trace(3, 6)
    assert flops(lambda: objective(trace)["loss"]) == 24 * WIDTH**2 * 3 * 4
