"""Myopic training: against the formula with every other key held fixed, and against decoding step by step."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from ablations.costs import known_cost
from ablations.estimate import measured, shape_of
from deepsight.architecture import Architecture
from deepsight.attention import attend
from deepsight.building import build_model, build_objectives
from deepsight.layers import LayerCache
from deepsight.myopia import is_myopic, myopic
from deepsight.training.folder import RunFolder
from deepsight.training.metrics import read_metrics
from deepsight.training.names import METRICS_FILE
from deepsight.training.step import accumulate_gradients
from objectives.heads import BlockHead
from tests.deepsight.attention_cases import Shape, attention_shapes, random_inputs
from tests.models import EVERY_ARCHITECTURE, lively, model_shapes, random_tokens, small_model
from tests.runs import run_of, source_of, write_text

EXACT = {"atol": 1e-10, "rtol": 1e-10}

NETWORKS: list[dict[str, Any]] = [
    {"architecture": "deepsight", "cross_heads": 4},
    {"architecture": "deepsight", "positions": "rotary"},
    {"architecture": "encoder_decoder"},
    {"architecture": {"name": "encoder_decoder", "attention_order": "cross_first", "add_positions": True}},
    {"architecture": "baseline"},
    {"architecture": "baseline", "positions": "rotary"},
    {"architecture": {"name": "canonical", "prefix": 3}},
    # As many positions are decoded as encoded.
    {"architecture": {"name": "canonical", "prefix": 6}, "positions": "rotary"},
]

on_every_network = pytest.mark.parametrize("shape", NETWORKS, ids=str)


def network(**shape: Any) -> Architecture:
    return lively(small_model(**shape, dtype=torch.float64))


def first_predicted(model: Architecture) -> int:
    return model.first_predicted(model.config)


def next_token_losses(model: Architecture, embedded: Tensor, tokens: Tensor) -> Tensor:
    """Return the loss at each predicted position of a window, summed over sequences; the last has no target."""
    logits = model.states(embedded).decoder_output[:, :-1] @ model.unembedding.T
    targets = tokens[:, first_predicted(model) + 1 :]
    return F.cross_entropy(logits.mT, targets, reduction="none").sum(dim=0)


# Attention alone.


def formula(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, own: Tensor) -> Tensor:
    """Softmax attention over whole matrices, where pairs that are not `own` meet keys and values held fixed."""
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    scores = torch.where(own, query @ key.mT, query @ key.detach().mT) / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)
    return ((weights * own) @ value + (weights * ~own) @ value.detach()).transpose(1, 2)


def compared(shape: Shape, seen: Tensor, **how: Any) -> None:
    batch, queries, keys, heads, width = shape
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shape, torch.float64)]
    own = torch.arange(queries)[:, None] + (keys - queries) == torch.arange(keys)
    with myopic():
        found = attend(*inputs, **how)
    expected = formula(*inputs, seen, own)
    assert_close(found, expected, atol=1e-12, rtol=0)
    assert_close(found, attend(*inputs, **how), atol=1e-12, rtol=0)
    weights = torch.randn(batch, queries, heads, width, dtype=torch.float64)
    gradients = (torch.autograd.grad((output * weights).sum(), inputs) for output in (found, expected))
    for left, right in zip(*gradients, strict=True):
        assert_close(left, right, atol=1e-12, rtol=0)


@given(shape=attention_shapes())
def test_causal_attention_is_the_formula(shape: Shape) -> None:
    _, queries, keys, _, _ = shape
    compared(shape, torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries))


@given(shape=attention_shapes())
def test_attention_without_an_order_is_the_formula(shape: Shape) -> None:
    _, queries, keys, _, _ = shape
    compared(shape, torch.ones(queries, keys, dtype=torch.bool), causal=False)


@given(shape=attention_shapes(), seed=st.integers(0, 99))
def test_attention_in_an_order_of_its_own_is_the_formula(shape: Shape, seed: int) -> None:
    batch, _, keys, heads, width = shape
    visible = torch.rand(keys, keys, generator=torch.Generator().manual_seed(seed)) < 0.5
    visible |= torch.eye(keys, dtype=torch.bool)
    compared((batch, keys, keys, heads, width), visible, visible=visible)


def test_a_query_that_does_not_meet_itself_has_all_keys_fixed() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in random_inputs((2, 4, 4, 2, 6), torch.float64))
    with myopic():
        found = attend(query, key, value, causal=False, meets_itself=False)
    assert_close(found, attend(query, key, value, causal=False), atol=1e-12, rtol=0)
    found.sum().backward()
    assert query.grad is not None
    assert key.grad is value.grad is None


def test_dropout_takes_the_own_weight_and_the_others_alike() -> None:
    query, key, value = random_inputs((1, 2, 2, 1, 8), torch.float64)
    query, key, value = torch.zeros_like(query), torch.zeros_like(key), torch.ones_like(value).requires_grad_()
    torch.manual_seed(0)
    with myopic():
        found = torch.stack([attend(query, key, value, dropout=0.5)[0, :, 0, 0] for _ in range(2000)])
    first, second = found.detach().unbind(dim=1)
    # One weight of 1, and two of a half: each is kept and doubled, or dropped.
    assert set(first.tolist()) == {0.0, 2.0}
    assert set(second.tolist()) == {0.0, 1.0, 2.0}
    assert first.mean().item() == pytest.approx(1.0, abs=0.1)
    assert (second == 1).double().mean().item() == pytest.approx(0.5, abs=0.05)
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), value)
    assert not gradient[:, 0].any()
    assert gradient[0, 1, 0, 0].item() / 2000 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("all_scores", [0, 64])
def test_half_precision_is_about_as_near_to_the_truth_as_it_is_without(all_scores: int) -> None:
    """What all scores have in common changes no weight: unless a score loses its digits to it."""
    query, key, value = (tensor.bfloat16() for tensor in random_inputs((4, 32, 32, 4, 16), torch.float64))
    for side in (query, key):
        side[..., 0] = (all_scores * 16**0.5) ** 0.5
    truth = attend(query.double(), key.double(), value.double())
    with myopic():
        found = attend(query, key, value)
    errors = [(output.double() - truth).square().mean().sqrt() for output in (found, attend(query, key, value))]
    assert errors[0] < 2 * errors[1]


# Whole networks.


@on_every_network
def test_a_loss_reaches_its_own_position_and_no_other(shape: dict[str, Any]) -> None:
    model = network(**shape)
    only_own_position(model, model.config.context)


@given(shape=model_shapes(), data=st.data())
def test_a_loss_reaches_its_own_position_alone_whatever_the_shape(shape: dict[str, Any], data: st.DataObject) -> None:
    # Wide enough that a norm leaves something of a state; a norm over one number is constant.
    changes = {"width": 4 * shape["heads"], "architecture": data.draw(st.sampled_from(EVERY_ARCHITECTURE))}
    model = network(**shape | changes)
    only_own_position(model, data.draw(st.integers(first_predicted(model) + 1, shape["context"])))


def only_own_position(model: Architecture, time: int) -> None:
    tokens = random_tokens(model, 2, time)
    embedded = model.embedding(tokens).detach().requires_grad_()
    with myopic():
        losses = next_token_losses(model, embedded, tokens)
    for position, loss in enumerate(losses, start=first_predicted(model)):
        (gradient,) = torch.autograd.grad(loss, embedded, retain_graph=True)
        assert gradient[:, position].any()
        gradient[:, position] = 0.0
        assert not gradient.any()


@on_every_network
def test_the_forward_pass_is_the_ordinary_one(shape: dict[str, Any]) -> None:
    model = network(**shape)
    tokens = random_tokens(model, 2, model.config.context)
    ordinary = model(tokens, tokens)
    with myopic():
        found = model(tokens, tokens)
        with torch.no_grad():
            assert torch.equal(model.logits(tokens), ordinary.decoder_output @ model.unembedding.T)
    for left, right in zip(found.layers, ordinary.layers, strict=True):
        assert_close(left, right, **EXACT)
    assert_close(found.decoder_output, ordinary.decoder_output, **EXACT)


@on_every_network
def test_parameters_learn_what_each_position_teaches_when_the_earlier_ones_are_given(shape: dict[str, Any]) -> None:
    """Decode step by step: the cache holds the earlier positions' keys and values as mere numbers."""
    model = network(**shape)
    tokens = random_tokens(model, 2, model.config.context)
    # A cache of canonical holds no prefix alone: the first position that it predicts is left out.
    start = first_predicted(model) + 1
    with myopic():
        losses = next_token_losses(model, model.embedding(tokens), tokens)
    found = torch.autograd.grad(losses[1:].sum(), list(model.parameters()), allow_unused=True)
    model.zero_grad(set_to_none=True)
    for position in range(start, tokens.shape[1] - 1):
        cache: list[LayerCache] = model.new_cache()
        with torch.no_grad():
            model.next_logits(tokens[:, :position], cache)
        logits = model.next_logits(tokens[:, position : position + 1], cache)
        F.cross_entropy(logits, tokens[:, position + 1], reduction="sum").backward()
    reached = 0
    for (name, weight), gradient in zip(model.named_parameters(), found, strict=True):
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        assert_close(torch.zeros_like(weight) if gradient is None else gradient, expected, **EXACT, msg=name)
        reached += bool(expected.any())
    assert reached > 10
    assert any(gradient is None for gradient in found) == (model.config.architecture_name == "canonical")


def test_a_head_on_the_states_is_myopic_too() -> None:
    model = network(architecture="baseline")
    head = BlockHead(model.shape).double()
    states = torch.randn(2, 5, model.config.width, dtype=torch.float64).requires_grad_()
    for wanted in (False, True):
        with myopic(wanted):
            said = head(states)[:, 3].square().sum()
        (gradient,) = torch.autograd.grad(said, states)
        assert gradient[:, 3].any()
        assert bool(gradient[:, :3].any()) != wanted


def test_a_register_is_a_position_of_its_own() -> None:
    model = network(architecture="deepsight", positions="rotary")
    tokens = random_tokens(model, 2, 6)
    register = torch.randn(model.config.width, dtype=torch.float64).requires_grad_()
    places = torch.arange(6).expand(2, -1)
    ordinary = model.register_states(tokens, register, places)
    with myopic():
        found = model.register_states(tokens, register, places)
    assert_close(found, ordinary, **EXACT)
    table = model.embedding.token.weight
    assert torch.autograd.grad(ordinary.square().sum(), table)[0].any()
    gradients = torch.autograd.grad(found.square().sum(), [table, register])
    assert not gradients[0].any()
    assert gradients[1].any()


def test_it_ends_with_its_block_and_holds_only_where_there_are_gradients() -> None:
    def fail() -> None:
        with myopic():
            assert is_myopic()
            with torch.no_grad():
                assert not is_myopic()
            with myopic(False):
                assert not is_myopic()
            assert is_myopic()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not is_myopic()


# Training.


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("objective", ["none", "multi_token"])
def test_micro_batches_add_up(tmp_path: Path, objective: str) -> None:
    config = run_of(tmp_path, objective=objective)
    # No end of text: losses of a micro-batch that are left out there would make a mean of means another mean.
    tokens = torch.randint(256, (6, 17), generator=torch.Generator().manual_seed(1))
    found: dict[tuple[bool, int], list[Tensor]] = {}
    for wanted, rows in itertools.product((False, True), (6, 2)):
        model = build_model(config).double()
        objectives = build_objectives(config, model.shape).double()
        batch = tokens[:, :-1], tokens[:, 1:].clone()
        with myopic(wanted):
            accumulate_gradients(model, objectives, *batch, seed=3, step=5, micro_batch_size=rows)
        weights = [*model.parameters(), *objectives.parameters()]
        found[wanted, rows] = [weight.grad for weight in weights if weight.grad is not None]
    for whole, parts in zip(found[True, 6], found[True, 2], strict=True):
        assert_close(parts, whole, rtol=1e-9, atol=1e-12)
    pairs = zip(found[True, 6], found[False, 6], strict=True)
    assert not all(torch.allclose(left, right) for left, right in pairs)


def train(text: Path, folder: Path, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    config = run_of(text, **changes)
    result = RunFolder(folder).prepare(config, source_of(config)).run()
    assert result is not None
    return result, list(read_metrics(folder / METRICS_FILE))


@pytest.mark.parametrize("changes", [{}, {"model__dropout": 0.2, "training__precision": "bfloat16"}], ids=str)
def test_a_run_learns_myopically(text: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    ordinary, ordinary_rows = train(text, tmp_path / "ordinary", training__steps=40, **changes)
    result, rows = train(text, tmp_path / "myopic", training__steps=40, training__myopic=True, **changes)
    assert rows[0]["validation_loss"] == ordinary_rows[0]["validation_loss"]  # evaluated without gradients
    assert result["batch_digest"] == ordinary["batch_digest"]
    assert result["validation_loss"] < rows[0]["validation_loss"] - 2
    assert result["validation_loss"] != ordinary["validation_loss"]


def test_without_it_a_run_is_the_one_that_it_was(tmp_path: Path) -> None:
    plain = run_of(tmp_path)
    off, on = (run_of(tmp_path, training__myopic=wanted) for wanted in (False, True))
    assert off == plain
    identities = [config.identity("x", {}) for config in (plain, off, on)]
    assert identities[0] == identities[1] != identities[2]
    assert '"myopic": true' in json.dumps(on.complete())


def test_it_costs_memory_and_counts_as_many_operations(tmp_path: Path) -> None:
    costs = [known_cost(run_of(tmp_path, training__myopic=wanted)).as_dict() for wanted in (False, True)]
    memory = [cost.pop("training_memory") for cost in costs]
    assert memory[0] < memory[1] < 1.5 * memory[0]
    assert costs[0] == costs[1]


def test_its_time_is_measured_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, on = run_of(tmp_path), run_of(tmp_path, training__myopic=True)
    assert shape_of(plain) != shape_of(on)
    seen: list[bool] = []

    def recorded(*arguments: Any, **named: Any) -> dict[str, Tensor]:
        seen.append(is_myopic())
        return accumulate_gradients(*arguments, **named)

    monkeypatch.setattr("ablations.estimate.accumulate_gradients", recorded)
    for config in (plain, on):
        assert measured(config).seconds_per_token > 0
    assert seen == [False] * 3 + [True] * 3
