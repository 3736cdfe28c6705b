"""The seam's gradients are those of the plain weighted sum, and its shares those of two separate backward passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.loss import next_token_loss
from deepsight.objective import SequentialObjective, Term
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives as registry
from deepsight.trace import Place, Shape, Trace
from deepsight.training.seam import Seam
from deepsight.training.step import accumulate_gradients
from tests.models import ARCHITECTURES, lively, random_tokens, random_trace, small_model

PLACES: list[Place] = ["encoder", "decoder", {"layer": 1}, {"layer": 4}]


class Head(nn.Module):
    """Cross-entropy of the token two ahead, from the state at the objective's place."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = nn.Linear(shape.width, shape.vocabulary)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(self.head(trace.attached).flatten(0, 1), trace.ahead(2).flatten())}


class Heads(SequentialObjective):
    """Three terms that read three states, with weights of their own."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    def terms(self, trace: Trace) -> Iterator[Term]:
        yield Term("first", trace.attached.square().mean())
        yield Term("second", trace.encoder_output.mul(trace.input_embeddings).mean(), 0.5)
        yield Term("third", trace.layers[2].pow(3).mean() + trace.unembedding.square().mean(), 2.0)


@pytest.fixture(autouse=True)
def _more_objectives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_components", dict(registry._components))
    registry.register("head")(Head)
    registry.register("heads")(Heads)


def parts(architecture: str, *specs: dict[str, Any]) -> tuple[Architecture, Objectives]:
    model = lively(small_model(architecture, layers=[2, 2], dtype=torch.float64))
    return model, Objectives([{"coefficient": 0.7, **spec} for spec in specs], model.shape, seed=0).double()


def gradients_of(*modules: nn.Module) -> dict[str, Tensor]:
    return {
        f"{position}.{name}": weight.grad.clone()
        for position, module in enumerate(modules)
        for name, weight in module.named_parameters()
        if weight.grad is not None
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_gradient_is_that_of_the_plain_sum(architecture: str, place: Place) -> None:
    model, objectives = parts(architecture, {"name": "head", "attach": place}, {"name": "heads", "attach": place})
    tokens = random_tokens(model, 3, 13)
    accumulate_gradients(model, objectives, tokens[:, :-1], tokens[:, 1:], seed=0, step=0)
    found = gradients_of(model, objectives)
    model.zero_grad()
    objectives.zero_grad()
    trace = model(tokens[:, :-1], tokens[:, 1:])
    said = objectives.losses(trace, 0, 0)
    total = next_token_loss(trace) + sum(0.7 * each["loss"] for each in said.values())
    total.backward()
    expected = gradients_of(model, objectives)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-11, atol=1e-13, msg=name)


def test_a_states_leaf_is_one_however_many_names_it_has() -> None:
    model = small_model("baseline")
    trace = random_trace(model)
    seam = Seam(trace)
    assert seam.trace.encoder_output is seam.trace.layers[1]
    assert len(seam.states) == len({id(state) for state in seam.states})
    assert all(leaf.grad_fn is None and leaf.requires_grad for leaf in seam.leaves)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_share_is_that_of_two_backward_passes(place: Place) -> None:
    model, objectives = parts("deepsight", {"name": "head", "attach": place})
    tokens = random_tokens(model, 3, 13)
    metrics = accumulate_gradients(model, objectives, tokens[:, :-1], tokens[:, 1:], seed=0, step=0, watch=True)
    trace = model(tokens[:, :-1], tokens[:, 1:])
    state = trace.at(place)
    (said,) = objectives.losses(trace, 0, 0).values()
    (own,) = torch.autograd.grad(0.7 * said["loss"], state, retain_graph=True)
    (rest,) = torch.autograd.grad(next_token_loss(trace), state)
    share = own.norm() / (own.norm() + rest.norm())
    cosine = F.cosine_similarity(own.flatten(), rest.flatten(), dim=0)
    assert metrics["head/gradient_share"].item() == pytest.approx(share.item(), rel=1e-6)
    assert metrics["head/gradient_cosine"].item() == pytest.approx(cosine.item(), rel=1e-5, abs=1e-7)


def test_nothing_is_watched_unless_asked() -> None:
    model, objectives = parts("deepsight", {"name": "head"})
    tokens = random_tokens(model, 3, 13)
    metrics = accumulate_gradients(model, objectives, tokens[:, :-1], tokens[:, 1:], seed=0, step=0)
    assert set(metrics) == {"next_token", "head/loss"}


def test_terms_are_recorded_and_summed() -> None:
    model, objectives = parts("deepsight", {"name": "heads"})
    tokens = random_tokens(model, 4, 13)
    found = accumulate_gradients(model, objectives, tokens[:, :-1], tokens[:, 1:], seed=0, step=0, micro_batch_size=2)
    assert found["heads/loss"].item() == pytest.approx(
        (found["heads/first"] + 0.5 * found["heads/second"] + 2 * found["heads/third"]).item(), rel=1e-6
    )


def test_an_objective_with_a_coefficient_of_zero_does_not_run() -> None:
    class Never(nn.Module):
        def forward(self, trace: Trace) -> dict[str, Tensor]:
            raise AssertionError

    model, objectives = parts("deepsight", {"name": "head"})
    alone = Objectives([], model.shape, seed=0)
    tokens = random_tokens(model, 3, 13)
    accumulate_gradients(model, alone, tokens[:, :-1], tokens[:, 1:], seed=0, step=0)
    expected = gradients_of(model)
    model.zero_grad()
    objectives.parts["head"] = Never()
    metrics = accumulate_gradients(
        model, objectives, tokens[:, :-1], tokens[:, 1:], seed=0, step=0, coefficients={"head": 0.0}
    )
    assert set(metrics) == {"next_token"}
    found = gradients_of(model)
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
