"""What every registered component must keep to, without anyone remembering to test it; objectives in a file apart."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deepsight.building import build_model, build_objectives
from deepsight.config import run_config
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.testing.parts import PART_CHECKS, check_part
from deepsight.trace import Shape, Trace
from deepsight.yaml_files import dump_yaml, parse_yaml
from objectives import aggregators, distances, merges, normalisers, objectives, predictors, targets
from tests.models import random_trace, small_model

REGISTRIES: list[Any] = [objectives, targets, aggregators, merges, predictors, normalisers, distances]
PARTS = {registry.kind: registry for registry in REGISTRIES}
EXCHANGED = ("target", "aggregator", "merge", "normaliser", "distance")
SHAPE = Shape(vocabulary=7, width=3, context=90, heads=1)


def loss_of(part: Objectives, trace: Trace) -> torch.Tensor:
    (said,) = part.losses(trace, 0, 0).values()
    return said["loss"]


def test_no_module_hides_a_registry() -> None:
    for registry in REGISTRIES:
        list(registry)  # every module is imported
    package = importlib.import_module("objectives")
    for registry in REGISTRIES:
        assert getattr(package, registry.plural) is registry
        assert importlib.util.find_spec(f"objectives.{registry.plural}") is None


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_component_says_what_it_is_and_survives_yaml(registry: Any) -> None:
    assert registry.names()
    for component in registry:
        assert component.summary.endswith("."), component.name
        assert component.formula, component.name
        assert component.source, component.name
        resolved = registry.resolve(component.name)
        assert registry.resolve(parse_yaml(dump_yaml(resolved), component.name)) == resolved


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in PART_CHECKS for name in PARTS[kind].names()])
def test_every_part_keeps_its_contract(kind: str, name: str) -> None:
    check_part(kind, name)


@pytest.mark.parametrize("name", aggregators.names())
@pytest.mark.parametrize(("n", "time"), [(1, 2), (4, 5), (5, 90)])
def test_an_aggregator_reads_the_n_positions_after_each_row(name: str, n: int, time: int) -> None:
    embeddings = torch.randn(2, time, 3, requires_grad=True)
    tokens = torch.randint(SHAPE.vocabulary, (2, time))
    rows = aggregators.build(name, n=n, width=3, shape=SHAPE)(embeddings, tokens)
    assert rows.shape == (2, time - n, 3)
    row = (time - n) // 2
    (gradient,) = torch.autograd.grad(rows[:, row].sum(), embeddings)
    read = set(gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist())
    assert read
    assert read <= set(range(row + 1, row + n + 1))


@pytest.mark.parametrize("name", distances.names())
def test_a_step_down_the_gradient_lowers_a_distance(name: str) -> None:
    prediction, target = torch.randn(2, 2, 5, 3, generator=torch.Generator().manual_seed(0)).unbind()
    prediction.requires_grad_()
    distance = distances.build(name)
    loss = distance(prediction=prediction, target=target)
    (gradient,) = torch.autograd.grad(loss, prediction)
    assert distance(prediction=prediction - 0.01 * gradient, target=target) < loss


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in EXCHANGED for name in PARTS[kind].names()])
def test_the_future_loss_works_with_every_part(kind: str, name: str) -> None:
    """Here in float64 and on a window shorter than the context."""
    model = small_model(context=16, layers=[2, 2]).double()
    # A target that is wider than the network needs a predictor.
    spec = {"name": "future_context", "n": 3, "predictor": "linear", kind: name}
    part = Objectives([{"coefficient": 1.0, **objectives.resolve(spec)}], model.shape, seed=0).double()
    part.prepare(Preparation(model, lambda: torch.arange(model.vocabulary)))
    trace = random_trace(model, time=model.config.context - 2)
    loss = loss_of(part, trace)
    assert loss.dtype == torch.float64
    loss.backward()
    trained = [weight for weight in part.parameters() if weight.requires_grad]
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in trained)
    part.after_step(model)
    assert all(torch.isfinite(value) for value in part.diagnostics(trace).values())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in EXCHANGED for name in PARTS[kind].names()])
def test_every_part_can_be_counted_without_storage(kind: str, name: str) -> None:
    config = run_config(
        {
            "model": {"width": 8, "layers": [1, 1], "heads": 2, "context": 8},
            "data": {"corpus": "pydocs", "tokenizer": "bpe:257"},
            "objective": {"name": "future_context", "n": 3, "predictor": "linear", kind: name},
            "training": {"steps": 1, "batch_size": 2, "learning_rate": 1e-4},
            "evaluation": {"every": 1},
        }
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build_model(config)
        part = build_objectives(config, model.shape)
        part.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64)))
        tokens = torch.zeros(2, 8, dtype=torch.int64)
        loss_of(part, model(tokens, tokens)).backward()
        part.after_step(model)
