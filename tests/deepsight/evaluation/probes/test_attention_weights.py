"""The weights of attention, against softmax(q kᵀ) written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.evaluation.probes.attention_weights import DistanceSums, attention_inputs, attention_layers, summing
from deepsight.layers import Attention, CrossAttention, SelfAttention
from tests.models import lively, random_tokens, small_model


def turned(vectors: np.ndarray, first: int) -> np.ndarray:
    """Turn pairs of dimensions as complex numbers, (time, width)."""
    half = vectors.shape[1] // 2
    positions = first + np.arange(len(vectors))
    angles = positions[:, None] * 10_000.0 ** (-np.arange(half) / half)
    pairs = (vectors[:, :half] + 1j * vectors[:, half:]) * np.exp(1j * angles)
    return np.concatenate([pairs.real, pairs.imag], axis=1)


def by_hand(layer: Attention, hidden: np.ndarray, encoded: np.ndarray, head: int, start: int = 0) -> np.ndarray:
    """Return the weights of one head on one sequence, a query at a time, (queries, keys)."""
    width = hidden.shape[1] // layer.heads
    rows = slice(head * width, (head + 1) * width)
    if isinstance(layer, SelfAttention):
        query_matrix, key_matrix, _ = np.split(layer.query_key_value.weight.detach().double().numpy(), 3)
    else:
        assert isinstance(layer, CrossAttention)
        query_matrix = layer.query.weight.detach().double().numpy()
        key_matrix = np.split(layer.key_value.weight.detach().double().numpy(), 2)[0]
    queries, keys = hidden @ query_matrix[rows].T, encoded @ key_matrix[rows].T
    if layer.rotary:
        queries, keys = turned(queries, start), turned(keys, 0)
    found = np.zeros((len(queries), len(keys)))
    for at, query in enumerate(queries):
        seen = range(at + 1 if layer.causal else len(keys))
        scores = [math.exp(float(query @ keys[key]) / math.sqrt(width)) for key in seen]
        found[at, : len(scores)] = np.array(scores) / sum(scores)
    return found


def layer_of(kind: str, causal: bool, rotary: bool) -> Attention:
    made = {"self": SelfAttention, "cross": CrossAttention}[kind](8, 2, 0.0, 0.02, rotary, causal)
    return lively(made)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("rotary", [False, True], ids=["learned", "rotary"])
@pytest.mark.parametrize(
    ("kind", "causal", "start"),
    [("self", True, None), ("self", False, None), ("cross", True, None), ("cross", False, 5)],
)
def test_weights_are_those_written_out(kind: str, causal: bool, start: int | None, rotary: bool) -> None:
    layer = layer_of(kind, causal, rotary)
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(3, 6, 8, generator=generator)
    encoded = torch.randn(3, 5 if start else 6, 8, generator=generator) if kind == "cross" else hidden
    given = (hidden,) if kind == "self" else (hidden, encoded, None, start)
    inputs = attention_inputs(layer, given, {})
    for sequence in range(3):
        found = inputs.weights(sequence)
        states = [part[sequence].double().numpy() for part in (hidden, encoded)]
        for head in range(2):
            assert found[head].detach().numpy() == pytest.approx(by_hand(layer, *states, head, start or 0), abs=1e-5)
    mixed = torch.stack([inputs.weights(row) @ inputs.value[row].transpose(0, 1) for row in range(3)])
    output = layer.output(mixed.transpose(1, 2).flatten(-2))
    assert torch.allclose(output, layer(*given), atol=1e-5)
    expected = [[abs((start or 0) + query - key) for key in range(encoded.shape[1])] for query in range(6)]
    assert inputs.distances.tolist() == expected


@settings(max_examples=8, deadline=None)
@given(time=st.integers(1, 9), seed=st.integers(0, 99), causal=st.booleans())
def test_sums_by_distance_are_those_of_a_loop(time: int, seed: int, causal: bool) -> None:
    layer = layer_of("self", causal, False)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, time, 8, generator=generator)
    counted = torch.rand(2, time, generator=generator) < 0.6
    sums = DistanceSums(heads=2, most=9)
    sums.add(attention_inputs(layer, (hidden,), {}), counted)
    weights, uniform, pairs = np.zeros((2, 9)), np.zeros(9), np.zeros(9)
    for sequence, query in torch.nonzero(counted).tolist():
        states = hidden[sequence].double().numpy()
        seen = range(query + 1 if causal else time)
        for key in seen:
            for head in range(2):
                weights[head, abs(query - key)] += by_hand(layer, states, states, head)[query, key]
            uniform[abs(query - key)] += 1 / len(seen)
            pairs[abs(query - key)] += 1
    assert sums.weights.numpy() == pytest.approx(weights, abs=1e-5)
    assert sums.uniform.numpy() == pytest.approx(uniform)
    assert sums.pairs.tolist() == pairs.tolist()
    assert sums.queries == int(counted.sum())


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("deepsight", "self encoder 1, self encoder 2, self decoder 1, cross decoder 1"),
        ({"name": "canonical", "prefix": 4}, "self encoder 1, self encoder 2, self decoder 1, cross decoder 1"),
        ("baseline", "self blocks 1, self blocks 2, self blocks 3"),
    ],
)
def test_every_layer_of_a_network_is_watched(architecture: Any, expected: str) -> None:
    model = lively(small_model(architecture, layers=[2, 1], context=9)).eval()
    layers = attention_layers(model)
    assert ", ".join(f"{place.kind} {place.stack} {place.number}" for place in layers) == expected
    sums = [DistanceSums(place.layer.heads, 9) for place in layers]
    tokens = random_tokens(model, 3, 9)
    counted = torch.zeros(3, 9, dtype=torch.bool)
    counted[:, 6:] = True
    before = model.logits(tokens)
    with torch.no_grad(), summing(layers, sums, counted):
        watched = model.logits(tokens)
    assert torch.equal(before, watched)
    for place, found in zip(layers, sums, strict=True):
        # The encoder that sees all of the prefix has none of the last positions: all of its own count.
        assert found.queries == (12 if not place.layer.causal and place.kind == "self" else 9)
        assert found.weights.sum(dim=1).tolist() == pytest.approx([found.queries] * 2, rel=1e-5)
        assert found.uniform.sum() == pytest.approx(found.queries)
    assert not any(place.layer._forward_pre_hooks for place in layers)


def test_a_layer_that_asks_nothing_looks_everywhere_alike() -> None:
    layer = layer_of("self", True, False)
    assert isinstance(layer, SelfAttention)
    with torch.no_grad():
        layer.query_key_value.weight[:8] = 0
    sums = DistanceSums(heads=2, most=6)
    sums.add(attention_inputs(layer, (torch.randn(2, 6, 8),), {}), torch.ones(2, 6, dtype=torch.bool))
    assert sums.weights.numpy() == pytest.approx(sums.uniform.expand(2, -1).numpy(), rel=1e-5)
