"""The gradient of each loss alone, by layer: against autograd on whole graphs, and without a trace left behind."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.data.batches import Batch
from deepsight.errors import UserError
from deepsight.evaluation.gradients import WHOLE, compared, gradients_of, layers_of, trained_weights
from deepsight.initialisation import own_stream
from deepsight.loss import next_token_loss
from deepsight.myopia import myopic
from deepsight.objective import Preparation
from deepsight.objective_specs import resolved_objective
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives as registry
from deepsight.trace import IGNORED, Shape
from tests.models import EVERY_ARCHITECTURE, lively, model_shapes, random_tokens, small_model

SPECS: list[dict[str, Any]] = [
    {"name": "future_context", "n": 3, "coefficient": 0.3},
    {"name": "multi_token", "n": 3, "coefficient": -0.5},
    {"name": "sequential_modules", "depth": 2, "attach": "encoder"},
    {"name": "register_token"},
    {"name": "token_order", "attach": {"layer": 1}},
]
"""One that reads the encoder, one of several terms, one that reads the embedding, one that runs the network again."""


def parts(architecture: str, *specs: dict[str, Any], dropout: float = 0.0) -> tuple[Architecture, Objectives, Batch]:
    written: Any = {"name": "canonical", "prefix": 3} if architecture == "canonical" else architecture
    model = lively(small_model(written, layers=[2, 1], dtype=torch.float64, dropout=dropout))
    objectives = Objectives([resolved_objective(spec) for spec in specs], model.shape, seed=0).double()
    objectives.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.long)))
    objectives.double()
    tokens = random_tokens(model, 4, 13)
    targets = tokens[:, 1:].clone()
    targets[0, 5:] = IGNORED
    later = tokens[:, : objectives.lookahead] if objectives.lookahead else None
    return model, objectives, Batch(tokens[:, :-1], targets, later)


def alone(
    model: Architecture, objectives: Objectives, batch: Batch, label: str | None, coefficient: float = 1.0
) -> Any:
    """Differentiate one loss through the whole graph."""
    model.eval()
    objectives.eval()
    with own_stream(7):
        trace = model(batch.inputs, batch.targets)
        loss = next_token_loss(trace)
        if label is not None:
            object.__setattr__(trace, "later", batch.later)
            objectives.draw(label, 0, 0)
            loss = coefficient * objectives.parts[label](objectives.seen(label, trace))["loss"]
    weights = list(trained_weights(model).values())
    if not loss.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_each_gradient_is_that_of_its_loss_alone(architecture: str) -> None:
    model, objectives, batch = parts(architecture, *SPECS)
    coefficients = objectives.coefficients()
    found = gradients_of(model, objectives, batch, coefficients)
    assert list(found.objectives) == [spec["name"] for spec in SPECS]
    close(found.next_token, alone(model, objectives, batch, None))
    for label, own in found.objectives.items():
        assert any(gradient.abs().max() > 0 for gradient in own)
        close(own, alone(model, objectives, batch, label, coefficients[label]))


def test_in_myopic_training_they_are_those_of_myopic_losses() -> None:
    model, objectives, batch = parts("baseline", {"name": "multi_token", "n": 2})
    plain = gradients_of(model, objectives, batch, {"multi_token": 1.0})
    with myopic():
        found = gradients_of(model, objectives, batch, {"multi_token": 1.0})
        close(found.next_token, alone(model, objectives, batch, None))
    assert not torch.allclose(found.next_token[0], plain.next_token[0])


def test_parts_of_a_batch_add_up() -> None:
    model, objectives, batch = parts("deepsight", SPECS[0], SPECS[1])
    whole, halves = (gradients_of(model, objectives, batch, objectives.coefficients(), rows) for rows in (None, 2))
    close(halves.next_token, whole.next_token)
    # An objective's loss is a mean over positions, of which the halves of the batch now have equally many.
    batch.targets[2, 5:] = IGNORED
    whole, halves = (gradients_of(model, objectives, batch, objectives.coefficients(), rows) for rows in (None, 2))
    close(halves.next_token, whole.next_token)
    for label in objectives.parts:
        close(halves.objectives[label], whole.objectives[label])


@settings(max_examples=20)
@given(shape=model_shapes(), seed=st.integers(0, 99))
def test_shares_and_cosines_are_those_of_flat_vectors(shape: dict[str, Any], seed: int) -> None:
    model = small_model(**shape)
    generator = torch.Generator().manual_seed(seed)
    names = list(trained_weights(model))
    own, other = ([torch.randn(weight.shape, generator=generator) for weight in model.parameters()] for _ in range(2))
    layers = layers_of(model)
    prefixes = {name: [n for n in names if _belongs(n, name)] for name in (layer.name for layer in layers[:-1])}
    assert sorted(itertools.chain(*prefixes.values())) == sorted(names)
    for layer, numbers in compared(own, other, layers):
        chosen = names if layer.name == WHOLE else prefixes[layer.name]
        g, n = (np.concatenate([of[names.index(name)].numpy().ravel() for name in chosen]).astype(float)
                for of in (own, other))  # fmt: skip
        norms = np.linalg.norm(g), np.linalg.norm(n)
        assert (numbers["norm"], numbers["next_token_norm"]) == pytest.approx(norms, rel=1e-9)
        assert numbers["share"] == pytest.approx(norms[0] / sum(norms), rel=1e-9)
        assert numbers["cosine"] == pytest.approx(g @ n / np.prod(norms), rel=1e-6, abs=1e-9)


def _belongs(weight: str, layer: str) -> bool:
    """Say whether a weight is of a layer, from how both are written."""
    *kind, last = layer.split()
    if last.isdigit():
        room = kind[0] if len(kind) == 2 else "blocks"
        return weight.startswith(f"{room}.{int(last) - 1}.")
    return weight.startswith("_".join(layer.split()) + ".")


@pytest.mark.parametrize(
    ("architecture", "middle"),
    [
        ("baseline", ["layer 1", "layer 2", "layer 3"]),
        ("deepsight", ["encoder layer 1", "encoder layer 2", "bridge", "decoder layer 1"]),
        ("canonical", ["encoder layer 1", "encoder layer 2", "decoder layer 1"]),
    ],
)
def test_layers_have_the_names_that_people_give_them(architecture: str, middle: list[str]) -> None:
    model, _, _ = parts(architecture)
    layers = layers_of(model)
    assert [layer.name for layer in layers] == ["embedding", *middle, "final norm", "all layers"]
    assert [layer.depth for layer in layers] == [*range(len(layers) - 1), None]


def test_frozen_weights_are_left_out() -> None:
    model, objectives, batch = parts("baseline", {"name": "multi_token", "n": 2})
    model.blocks[0].requires_grad_(False)
    assert [layer.name for layer in layers_of(model)][:2] == ["embedding", "layer 2"]
    found = gradients_of(model, objectives, batch, {"multi_token": 1.0})
    close(found.next_token, alone(model, objectives, batch, None))


def test_what_is_not_reached_or_does_not_count_is_zero_and_has_no_cosine() -> None:
    model, objectives, batch = parts("deepsight", SPECS[0], {"name": "inert"})
    found = gradients_of(model, objectives, batch, {"future_context": 1.0, "inert": 1.0})
    by_layer = {layer.name: numbers for layer, numbers in
                compared(found.objectives["future_context"], found.next_token, layers_of(model))}  # fmt: skip
    assert by_layer["encoder layer 2"]["cosine"] is not None
    for name in ("bridge", "decoder layer 1", "final norm"):
        assert (by_layer[name]["norm"], by_layer[name]["share"], by_layer[name]["cosine"]) == (0.0, 0.0, None)
    for own in (found.objectives["inert"], gradients_of(model, objectives, batch, dict.fromkeys(objectives.parts, 0.0))
                .objectives["future_context"]):  # fmt: skip
        assert not any(gradient.any() for gradient in own)
    nothing = [torch.zeros_like(weight) for weight in model.parameters()]
    (_, numbers), *_ = compared(nothing, nothing, layers_of(model))
    assert numbers == {"norm": 0.0, "next_token_norm": 0.0, "share": None, "cosine": None}
    (_, numbers), *_ = compared([weight + math.nan for weight in nothing], nothing, layers_of(model))
    assert numbers["norm"] is numbers["share"] is numbers["cosine"] is None


def test_nothing_is_other_afterwards() -> None:
    model, objectives, batch = parts("deepsight", *SPECS, dropout=0.5)
    model.train()
    objectives.train()
    model.encoder[0].eval()
    modes = [module.training for module in (*model.modules(), *objectives.modules())]
    for number, weight in enumerate([*model.parameters(), *objectives.parameters()]):
        weight.grad = torch.full_like(weight, float(number))
    before = {**model.state_dict(), **objectives.state_dict()}
    before = {name: value.clone() for name, value in before.items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (gradients_of(model, objectives, batch, objectives.coefficients()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in (*model.modules(), *objectives.modules())] == modes
    for number, weight in enumerate([*model.parameters(), *objectives.parameters()]):
        assert weight.grad is not None
        assert (weight.grad == float(number)).all()
    after = {**model.state_dict(), **objectives.state_dict()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    # No dropout, and the objectives' own draws are the same each time.
    for label in objectives.parts:
        assert all(map(torch.equal, first.objectives[label], second.objectives[label]))


def test_training_modes_do_not_matter() -> None:
    """Without dropout, and with all the heads that a curriculum will train."""
    curriculum = {"name": "multi_token", "n": 3, "curriculum": "forward"}
    model, objectives, batch = parts("deepsight", curriculum, dropout=0.5)
    model.train()
    objectives.train()
    found = gradients_of(model, objectives, batch, {"multi_token": 1.0})
    close(found.next_token, alone(model, objectives, batch, None))
    close(found.objectives["multi_token"], alone(model, objectives, batch, "multi_token"))


def test_an_objective_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(nn.Module):
        def __init__(self, shape: Shape) -> None:
            super().__init__()

        def forward(self, trace: Any) -> dict[str, Tensor]:
            raise ValueError("no such thing")

    monkeypatch.setattr(registry, "_components", dict(registry._components))
    registry.register("failing")(Failing)
    model, objectives, batch = parts("baseline", {"name": "failing"})
    with pytest.raises(UserError, match=r"test_gradients\.py:\d+: the objective 'failing' fails: ValueError: no such"):
        gradients_of(model, objectives, batch, {"failing": 1.0})
