"""What every registered component must keep to, without anyone remembering to test it."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from deepsight.architecture import Architecture
from deepsight.building import Objectives
from deepsight.trace import IGNORED, Trace
from deepsight.yaml_files import dump_yaml, parse_yaml
from objectives import aggregators, distances, merges, objectives
from tests.models import ARCHITECTURES, random_tokens, random_trace, small_model

REGISTRIES: list[Any] = [objectives, aggregators, merges, distances]
STATES = ("input_embeddings", "encoder_output", "decoder_output", "unembedding")

on_every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
every_objective = pytest.mark.parametrize("name", objectives.names())


def model_of(architecture: str) -> Architecture:
    return small_model(architecture, context=16, layers=[2, 2])


def built(name: str, model: Architecture) -> Objectives:
    return Objectives([{"coefficient": 1.0, **objectives.resolve(name)}], model.shape, seed=0)


def loss_of(part: Objectives, trace: Trace) -> torch.Tensor:
    (said,) = part.losses(trace, 0, 0).values()
    return said["loss"]


@every_objective
@on_every_architecture
def test_the_loss_is_a_finite_scalar_that_teaches_the_network(name: str, architecture: str) -> None:
    model = model_of(architecture)
    part = built(name, model)
    loss = loss_of(part, random_trace(model))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    gradients = [weight.grad for weight in (*model.parameters(), *part.parameters()) if weight.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(weight.grad is not None and weight.grad.any() for weight in model.parameters())
    assert all(weight.grad is not None for weight in part.parameters())


@every_objective
@on_every_architecture
def test_the_loss_repeats(name: str, architecture: str) -> None:
    model = model_of(architecture)
    part, trace = built(name, model), random_trace(model)
    assert torch.equal(loss_of(part, trace), loss_of(part, trace))
    assert torch.equal(loss_of(part, trace), loss_of(built(name, model), trace))


@every_objective
@on_every_architecture
def test_the_order_of_sequences_does_not_count(name: str, architecture: str) -> None:
    model = model_of(architecture).double()
    part = built(name, model).double()
    tokens = random_tokens(model, 4, 17)
    losses = [loss_of(part, model(rows[:, :-1], rows[:, 1:])).item() for rows in (tokens, tokens.flip(0))]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@every_objective
@on_every_architecture
def test_ignored_targets_leave_it_finite(name: str, architecture: str) -> None:
    model = model_of(architecture)
    trace = random_trace(model)
    trace.targets[:, 3:9] = IGNORED
    assert torch.isfinite(loss_of(built(name, model), trace))


@every_objective
@on_every_architecture
def test_inference_is_untouched(name: str, architecture: str) -> None:
    """Neither the trace nor the network changes, and the logits at a position know nothing of later tokens."""
    model = model_of(architecture)
    part, trace = built(name, model), random_trace(model)
    states = {state: getattr(trace, state).detach().clone() for state in STATES}
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    loss_of(part, trace).backward()
    part.diagnostics(trace)
    assert all(torch.equal(getattr(trace, state), before) for state, before in states.items())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert {id(weight) for weight in model.parameters()}.isdisjoint(id(weight) for weight in part.parameters())
    changed = trace.tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % model.vocabulary
    after = model(changed, trace.targets)
    loss_of(part, after)
    before_logits, after_logits = (t.decoder_output @ t.unembedding.T for t in (trace, after))
    torch.testing.assert_close(before_logits[:, :9], after_logits[:, :9], atol=1e-6, rtol=0)


@every_objective
@on_every_architecture
def test_diagnostics_are_finite_scalars(name: str, architecture: str) -> None:
    model = model_of(architecture)
    for key, value in built(name, model).diagnostics(random_trace(model)).items():
        assert key.startswith(f"{name}/")
        assert value.ndim == 0
        assert torch.isfinite(value)


def test_no_module_hides_a_registry() -> None:
    for registry in REGISTRIES:
        list(registry)  # every module is imported
    package = importlib.import_module("objectives")
    assert [getattr(package, name) for name in package.__all__] == [aggregators, distances, merges, objectives]
    for name in package.__all__:
        assert importlib.util.find_spec(f"objectives.{name}") is None


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_component_says_what_it_is_and_survives_yaml(registry: Any) -> None:
    assert registry.names()
    for component in registry:
        assert component.summary.endswith("."), component.name
        assert component.formula, component.name
        assert component.source, component.name
        resolved = registry.resolve(component.name)
        assert registry.resolve(parse_yaml(dump_yaml(resolved), component.name)) == resolved


@pytest.mark.parametrize("name", aggregators.names())
@pytest.mark.parametrize(("n", "time"), [(1, 2), (4, 5), (5, 90)])
def test_an_aggregator_reads_the_n_positions_after_each_row(name: str, n: int, time: int) -> None:
    embeddings = torch.randn(2, time, 3, requires_grad=True)
    rows = aggregators.build(name, n=n)(embeddings)
    assert rows.shape == (2, time - n, 3)
    row = (time - n) // 2
    (gradient,) = torch.autograd.grad(rows[:, row].sum(), embeddings)
    read = set(gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist())
    assert read
    assert read <= set(range(row + 1, row + n + 1))


@pytest.mark.parametrize("name", merges.names())
def test_a_merge_keeps_the_shape(name: str) -> None:
    present, future = torch.randn(2, 2, 5, 3).unbind()
    merged = merges.build(name)(present=present, future=future, n=4)
    assert merged.shape == (2, 5, 3)
    assert torch.isfinite(merged).all()


@pytest.mark.parametrize("name", distances.names())
def test_a_distance_is_a_scalar_that_falls_towards_the_target(name: str) -> None:
    prediction, target = torch.randn(2, 2, 5, 3).unbind()
    prediction.requires_grad_()
    distance = distances.build(name)
    loss = distance(prediction=prediction, target=target)
    assert loss.shape == ()
    (gradient,) = torch.autograd.grad(loss, prediction)
    stepped = distance(prediction=prediction - 0.01 * gradient, target=target)
    assert stepped < loss
    assert distance(prediction=target, target=target) < loss
