"""From a configuration to modules: labels, streams of random numbers, and the objective's contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepsight.building import build_model, build_objectives, weight_digests
from deepsight.config import run_config
from deepsight.errors import UserError
from deepsight.initialisation import own_stream
from deepsight.layers import Linear
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from tests.models import random_trace, small_model
from tests.runs import run_data

SHAPE = Shape(vocabulary=31, width=16, context=12, heads=2)


class Noisy(nn.Module):
    """Draw a number, and own a weight of torch's making and one of ours."""

    def __init__(self, shape: Shape, scale: float = 1.0) -> None:
        super().__init__()
        self.theirs = nn.Linear(shape.width, 2)
        self.ours = Linear(shape.width, 2)
        self.scale = scale

    def forward(self, trace: Trace) -> dict[str, Any]:
        return {"loss": self.scale * torch.rand(())}


class Wrong(nn.Module):
    """Return what the test says."""

    says: Any = None

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    def forward(self, trace: Trace) -> Any:
        return self.says


@pytest.fixture(autouse=True)
def _more_objectives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "_components", dict(objectives._components))
    for name in ("noisy", "noisy_2", "noisy_other"):
        objectives.register(name)(type(name, (Noisy,), {}))
    objectives.register("wrong")(Wrong)


def several(*names: str, seed: int = 0) -> Objectives:
    return Objectives([{"name": name, "coefficient": 2.0} for name in names], SHAPE, seed)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["noisy"], ["noisy"]),
        (["noisy", "noisy", "noisy"], ["noisy", "noisy_2", "noisy_3"]),
        (["noisy_other", "noisy"], ["noisy_other", "noisy"]),
        (["noisy_2", "noisy", "noisy"], ["noisy_2", "noisy", "noisy_3"]),
        (["noisy", "noisy", "noisy_2"], ["noisy", "noisy_2", "noisy_2_2"]),
    ],
)
def test_labels_are_names_numbered_from_the_second_on(names: list[str], labels: list[str]) -> None:
    built = several(*names)
    assert list(built.parts) == labels
    assert built.coefficients() == dict.fromkeys(labels, 2.0)


def test_each_objective_has_streams_of_its_own() -> None:
    trace = random_trace(small_model())
    alone, together = several("noisy"), several("noisy_other", "noisy")
    digests = weight_digests(together)
    assert weight_digests(alone).items() <= digests.items()
    assert len(set(digests.values())) == len(digests)
    draw = alone.losses(trace, 0, 5)["noisy"]["loss"]
    drawn = together.losses(trace, 0, 5)
    assert drawn["noisy"]["loss"] == draw
    assert drawn["noisy_other"]["loss"] != draw
    assert alone.losses(trace, 0, 6)["noisy"]["loss"] != draw
    assert alone.losses(trace, 1, 5)["noisy"]["loss"] != draw


def test_building_does_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    config = run_config(run_data(Path("unread")))
    build_objectives(config, build_model(config).shape)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_the_same_whatever_its_objectives_and_whatever_was_drawn_before() -> None:
    with_objective = run_config(run_data(Path("unread")))
    without = run_config(run_data(Path("unread"), objective="none"))
    torch.rand(3)
    assert weight_digests(build_model(with_objective)) == weight_digests(build_model(without))
    assert weight_digests(build_objectives(without, SHAPE)) == {}


def test_own_stream_is_one_of_its_purpose() -> None:
    with own_stream(0, "a"):
        first = torch.rand(3)
    with own_stream(0, "b"):
        other = torch.rand(3)
    with own_stream(0, "a"):
        assert torch.equal(torch.rand(3), first)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (torch.zeros(()), "must return a dict with a tensor 'loss', not Tensor"),
        ({}, "must return a dict with a tensor 'loss', not one with the keys []"),
        ({"lost": torch.zeros(())}, "must return a dict with a tensor 'loss', not one with the keys ['lost']"),
        ({"loss": 1.0}, "must return a scalar tensor 'loss', not float"),
        ({"loss": torch.zeros(2)}, "must return a scalar tensor 'loss', not one of shape (2,)"),
        ({"loss": torch.zeros(()), "rank": 2}, "must return a scalar tensor 'rank', not int"),
    ],
)
def test_an_objective_that_breaks_its_contract_is_named(says: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wrong, "says", says)
    with pytest.raises(UserError) as caught:
        several("wrong").losses(random_trace(small_model()), 0)
    assert str(caught.value) == f"the objective 'wrong' ({objectives['wrong'].location}) {said}"


def test_what_cannot_be_built_names_its_position() -> None:
    specs: list[dict[str, object]] = [
        {"name": "noisy", "coefficient": 1.0},
        {"name": "future_context", "coefficient": 1.0, "n": 12},
    ]
    with pytest.raises(UserError, match=r"^objective\.1\.n: the horizon 12 needs a context longer than 12$"):
        Objectives(specs, SHAPE, seed=0)


def test_diagnostics_are_those_that_objectives_offer() -> None:
    class Telling(Noisy):
        def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
            return {"rank": torch.ones(())}

    objectives.register("telling")(Telling)
    found = several("noisy", "telling").diagnostics(random_trace(small_model()))
    assert {name: value.item() for name, value in found.items()} == {"telling/rank": 1.0}


def test_digests_tell_shape_and_content() -> None:
    def of(weight: Tensor) -> str:
        holder = nn.Module()
        holder.weight = nn.Parameter(weight)
        return weight_digests(holder)["weight"]

    weight = torch.arange(6.0)
    assert of(weight) == of(weight.clone())
    assert of(weight) == of(torch.arange(12.0)[::2] / 2)  # strides do not count
    others = [weight.reshape(2, 3), weight.double(), weight + torch.tensor([0, 0, 0, 0, 0, 1e-6])]
    assert len({of(weight), *map(of, others)}) == 4
