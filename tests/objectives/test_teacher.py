"""The teacher: how it follows the network, what it leaves, and that it is saved and never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives, targets
from deepsight.training.checkpoint import read_checkpoint, write_tensors
from objectives.teacher import Teacher
from tests.models import lively, random_trace, small_model

SPEC = {"name": "future_context", "n": 3, "target": {"name": "teacher", "decay": 0.9}, "norm": "none"}


def preparation(model: Architecture) -> Preparation:
    return Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64))


def prepared(model: Architecture, decay: float = 0.9) -> Teacher:
    teacher = Teacher(decay)
    teacher.prepare(preparation(model))
    return teacher


def moved(model: Architecture, step: int) -> None:
    """Change every weight, as an optimiser would."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype))


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_its_weights_are_the_moving_average(decay: float) -> None:
    model = small_model(dtype=torch.float64)
    teacher = prepared(model, decay)
    expected = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for step in range(4):
        moved(model, step)
        teacher.after_step(model)
        for name, weight in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * weight.detach()
    assert teacher.network is not None
    found = dict(teacher.network.named_parameters())
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert_close(found[name].detach(), weight, atol=1e-12, rtol=1e-12)


def test_it_is_a_copy_that_is_not_trained_and_drops_nothing() -> None:
    model = lively(small_model(dropout=0.5))
    teacher = prepared(model)
    teacher.train()
    assert all(not weight.requires_grad for weight in teacher.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    trace = random_trace(model)
    first, second = (teacher.trace(trace.tokens, trace.targets) for _ in range(2))
    assert torch.equal(first.decoder_output, second.decoder_output)
    assert torch.equal(first.decoder_output, model.eval()(trace.tokens, trace.targets).decoder_output)
    assert not first.decoder_output.requires_grad
    moved(model, 0)
    assert torch.equal(teacher.trace(trace.tokens, trace.targets).decoder_output, first.decoder_output)


@pytest.mark.parametrize("architecture", ["deepsight", "baseline", "canonical"])
def test_it_stands_beside_the_network(architecture: Any) -> None:
    """Also where the trace leaves out the first positions of the window."""
    model = lively(small_model(architecture))
    trace = random_trace(model)
    beside = prepared(model).beside(trace)
    assert torch.equal(beside.tokens, trace.tokens)
    for place in ("encoder", "decoder", {"layer": 1}):
        assert_close(beside.at(place), trace.at(place).detach(), atol=1e-5, rtol=1e-5)


def test_without_weights_it_says_what_is_missing() -> None:
    model = small_model()
    built = Objectives([{"coefficient": 1.0, **objectives.resolve(SPEC)}], model.shape, seed=0)
    with pytest.raises(UserError, match=r"a teacher has no weights before prepare\(preparation\) is called$"):
        built.losses(random_trace(model), 0, 0)


@pytest.mark.parametrize("place", ["encoder", "decoder", {"layer": 3}])
def test_the_target_is_a_normed_state(place: Any) -> None:
    model = lively(small_model())
    target: Any = targets.build({"name": "teacher", "place": place}, shape=model.shape)
    target.teacher.prepare(preparation(model))
    trace = random_trace(model)
    states = trace.at(place).detach().double()
    centred = states - states.mean(dim=-1, keepdim=True)
    expected = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    assert_close(target(trace, 0).double(), expected, atol=2e-5, rtol=0)


def test_a_layer_must_be_there() -> None:
    with pytest.raises(UserError, match=r"^place\.layer: there is no layer 5; the network has 4$"):
        targets.build({"name": "teacher", "place": {"layer": 5}}, shape=small_model().shape)


def trained(model: Architecture, built: Objectives, steps: range) -> list[float]:
    losses = []
    for step in steps:
        (said,) = built.losses(random_trace(model, seed=step), 0, step).values()
        losses.append(said["loss"].item())
        moved(model, step)
        built.after_step(model)
    return losses


def test_a_checkpoint_holds_it(tmp_path: Path) -> None:
    def started() -> tuple[Architecture, Objectives]:
        model = small_model()
        built = Objectives([{"coefficient": 1.0, **objectives.resolve(SPEC)}], model.shape, seed=0)
        built.prepare(preparation(model))
        return model, built

    model, built = started()
    trained(model, built, range(3))
    write_tensors(tmp_path / "checkpoint", {}, model.state_dict(), built.state_dict())
    expected = trained(model, built, range(3, 5))
    model, built = started()
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    model.load_state_dict(checkpoint.part("model"))
    built.load_state_dict(checkpoint.part("objective"))
    assert trained(model, built, range(3, 5)) == expected


def test_it_sends_no_gradient_to_the_network_through_the_target() -> None:
    model = small_model()
    target: Any = targets.build("teacher", shape=model.shape)
    target.teacher.prepare(preparation(model))
    vectors: Tensor = target(random_trace(model), 0)
    assert not vectors.requires_grad
