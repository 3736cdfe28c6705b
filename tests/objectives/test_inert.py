"""The inert objective: it does all that an objective may do, and moves nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from deepsight.objectives_of_run import Objectives
from deepsight.testing.systems import Subject, System, systems_for
from deepsight.trace import Shape
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.folder import RunFolder
from deepsight.training.names import CHECKPOINT_FILE
from objectives.inert import Inert
from tests.runs import run_of, source_of, write_text

SHAPE = Shape(vocabulary=31, width=16, context=16, heads=2)


@pytest.mark.parametrize("system", systems_for("inert"), ids=str)
def test_its_loss_is_zero_and_nothing_receives_a_gradient_from_it(system: System) -> None:
    subject = Subject("inert", system)
    said = subject.said()
    assert (float(said["loss"]), said["loss"].requires_grad, said["activity"].requires_grad) == (0.0, False, False)
    subject.accumulate()
    assert all(weight.requires_grad and weight.grad is None for weight in subject.objectives.parameters())
    found = {name: weight.grad for name, weight in subject.network.named_parameters()}
    silent = Subject("inert", system)
    silent.objectives = Objectives([], silent.network.shape, 0)
    silent.accumulate()
    for name, weight in silent.network.named_parameters():
        assert weight.grad is not None
        assert torch.equal(weight.grad, found[name]), name


def test_training_leaves_its_parameters_as_they_were() -> None:
    """Weight decay would shrink the matrix, were it trained at all."""
    subject = Subject("inert", System("baseline"))
    before = [weight.detach().clone() for weight in subject.objectives.parameters()]
    assert [tuple(weight.shape) for weight in before] == [(16,), (16, 16)]
    subject.train(3)
    assert all(map(torch.equal, before, subject.objectives.parameters()))


def test_it_draws_where_it_is_built_and_at_every_step() -> None:
    """Otherwise it would show nothing of streams that are shared."""
    torch.manual_seed(0)
    states = [torch.get_rng_state()]
    inert = Inert(SHAPE)
    states.append(torch.get_rng_state())
    inert(Subject("inert", System("baseline")).trace())
    states.append(torch.get_rng_state())
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(states))
    subject = Subject("inert", System("baseline"))
    activities = {float(subject.said(None, step, 0)["activity"]) for step in range(3)}
    assert len(activities) == 3


def test_a_stopped_run_with_it_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """Its parameters have no moments in the optimiser, before a stop and after."""
    config = run_of(write_text(tmp_path / "text", documents=8), objective="inert", training__steps=4)
    weights = []
    for name, stops in (("whole", [None]), ("stopped", [2, None])):
        for stop in stops:
            trainer = RunFolder(tmp_path / name).prepare(config, source_of(config))
            trainer.run(lambda trainer=trainer, stop=stop: trainer.progress.step == stop)  # type: ignore[misc]
        weights.append(read_checkpoint(tmp_path / name / CHECKPOINT_FILE).tensors)
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
