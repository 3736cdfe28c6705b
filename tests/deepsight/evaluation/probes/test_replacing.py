"""Another encoder output in the place of the true one: networks run by hand, and no look ahead."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.evaluation.probes.replacing import (
    Reader,
    Replacement,
    Shuffled,
    Swapped,
    decoder_layers,
    encoder_outputs,
    random_orders,
    replacing,
    single_readers,
    whole_readers,
)
from deepsight.model import CausalEncoderDecoder
from tests.models import lively, random_tokens, small_model

CONTEXT, PREFIX = 9, 4
NETWORKS: dict[str, dict[str, Any]] = {
    "deepsight": {"architecture": "deepsight"},
    "rotary": {"architecture": "deepsight", "positions": "rotary"},
    "sibling": {"architecture": "encoder_decoder"},
    "sibling with all": {
        "architecture": {
            "name": "encoder_decoder",
            "attention_order": "cross_first",
            "add_positions": True,
            "bridge_norm": True,
        }
    },
    "canonical": {"architecture": {"name": "canonical", "prefix": PREFIX}},
    "canonical rotary": {"architecture": {"name": "canonical", "prefix": PREFIX}, "positions": "rotary"},
}


def network(name: str) -> Any:
    return lively(small_model(**NETWORKS[name], context=CONTEXT, layers=[2, 2])).eval().requires_grad_(False)


def readers(model: Architecture) -> list[Reader]:
    return [*whole_readers(model), *single_readers(model)]


def replacements(model: Architecture) -> dict[str, Replacement]:
    others = encoder_outputs(model, random_tokens(model, 3, CONTEXT, seed=7))
    return {
        "shuffled": Shuffled(CONTEXT, seed=5),
        "averaged": Swapped(others.mean(dim=0, keepdim=True)),
        "other": Swapped(others),
    }


def by_hand(model: Any, tokens: Tensor, vectors: Tensor, reader: Reader) -> Tensor:
    """Return the logits where a part reads other vectors, of which there is one for each position and sequence."""
    embedded = model.embedding(tokens)
    after = embedded[:, PREFIX:] if not isinstance(model, CausalEncoderDecoder) else None
    encoded = embedded if after is None else embedded[:, :PREFIX]
    for block in model.encoder:
        encoded = block(encoded)
    hidden = model.bridged(vectors if reader.bridge is not None else encoded, 0) if after is None else after
    for block in model.decoder:
        hidden = block(hidden, vectors if block in reader.layers else encoded)
    output = model.finished(hidden, 0) if after is None else model.final_norm(hidden)
    return output @ model.unembedding.T


@pytest.mark.parametrize("name", NETWORKS)
def test_swapped_outputs_are_read_by_whom_they_are_meant_for(name: str) -> None:
    model = network(name)
    tokens = random_tokens(model, 3, CONTEXT)
    plain = model.logits(tokens)
    others = encoder_outputs(model, random_tokens(model, 3, CONTEXT, seed=7))
    assert torch.equal(by_hand(model, tokens, encoder_outputs(model, tokens), readers(model)[0]), plain)
    for reader in readers(model):
        with replacing(Swapped(others), reader):
            found = model.logits(tokens)
        assert torch.allclose(found, by_hand(model, tokens, others, reader), atol=1e-5), reader.label
        assert not torch.allclose(found, plain, atol=1e-3), reader.label
        with replacing(Swapped(encoder_outputs(model, tokens)), reader):
            assert torch.equal(model.logits(tokens), plain)
    assert torch.equal(model.logits(tokens), plain)


def test_the_parts_that_read_are_all_cross_attention_each_layer_the_bridge_and_all_together() -> None:
    labels = [reader.label for reader in readers(network("sibling"))]
    assert labels == ["cross_attention", "bridge", "everything", "decoder layer 1", "decoder layer 2"]
    assert [reader.label for reader in readers(network("canonical"))] == [labels[0], *labels[3:]]
    assert decoder_layers(small_model("baseline")) == ()


def test_fewer_vectors_are_read_again_and_the_last_position_goes_on() -> None:
    vectors = torch.arange(6.0).view(2, 3, 1)
    assert Swapped(vectors).at_bridge(torch.zeros(3, 5, 1))[..., 0].tolist() == [
        [0, 1, 2, 2, 2], [3, 4, 5, 5, 5], [0, 1, 2, 2, 2]
    ]  # fmt: skip


@given(size=st.integers(1, 12), seed=st.integers(0, 999))
def test_orders_are_of_what_is_visible(size: int, seed: int) -> None:
    for position, order in enumerate(random_orders(size, size, seed, causal=True).tolist()):
        assert sorted(order[: position + 1]) == list(range(position + 1))
        assert order[position + 1 :] == list(range(position + 1, size))
    for order in random_orders(3, size, seed, causal=False).tolist():
        assert sorted(order) == list(range(size))


def test_each_order_is_as_likely_as_any_other() -> None:
    counts = Counter(tuple(random_orders(5, 5, seed, causal=True)[2, :3].tolist()) for seed in range(1200))
    assert len(counts) == 6
    # Chi-squared with 5 degrees of freedom is above 20.5 once in a thousand times.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 20.5


@pytest.mark.parametrize("name", NETWORKS)
def test_shuffled_values_stand_under_the_weights_of_others(name: str) -> None:
    model = network(name)
    block = model.decoder[1]
    layer, heads = block.cross_attention, block.cross_attention.heads
    tokens, shuffled = random_tokens(model, 2, CONTEXT), Shuffled(CONTEXT, seed=5)
    orders = random_orders(CONTEXT, CONTEXT if layer.causal else PREFIX, 5, causal=layer.causal)
    seen: dict[str, Any] = {}
    handles = [
        layer.register_forward_hook(lambda _, given, output: seen.update(given=given, plain=output)),
        shuffled.at_layer(block),
        layer.register_forward_hook(lambda _, given, output: seen.update(found=output)),
    ]
    model.logits(tokens)
    for handle in handles:
        handle.remove()
    hidden, encoded, *_ = seen["given"]
    start = 0 if layer.causal else PREFIX
    for sequence in range(2):
        for at in range(hidden.shape[1]):
            # One query alone, against its keys in their order and the values in another one.
            count = at + 1 if layer.causal else PREFIX
            order = orders[at, :count]
            query = layer.query(hidden[sequence, at]).view(heads, -1)
            key, value = layer.key_value(encoded[sequence, :count]).view(count, 2, heads, -1).unbind(1)
            if layer.rotary:
                query, key = rotated_one(query, start + at), torch.stack([rotated_one(k, s) for s, k in enumerate(key)])
            weights = (torch.einsum("hd,khd->hk", query, key) * query.shape[-1] ** -0.5).softmax(dim=-1)
            expected = layer.output(torch.einsum("hk,khd->hd", weights, value[order]).flatten())
            assert torch.allclose(seen["found"][sequence, at], expected, atol=1e-5)
            plain = layer.output(torch.einsum("hk,khd->hd", weights, value).flatten())
            assert torch.allclose(seen["plain"][sequence, at], plain, atol=1e-5)


def rotated_one(vectors: Tensor, position: int) -> Tensor:
    half = vectors.shape[-1] // 2
    angles = position * 10_000.0 ** (-torch.arange(half) / half)
    pairs = torch.complex(vectors[..., :half], vectors[..., half:]) * torch.polar(torch.ones(half), angles)
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def test_the_bridge_reads_what_the_end_of_an_order_names() -> None:
    encoded = torch.arange(18.0).view(1, 9, 2)
    found = Shuffled(CONTEXT, seed=5).at_bridge(encoded)
    orders = random_orders(CONTEXT, CONTEXT, 5, causal=True)
    assert found[0].tolist() == [encoded[0, orders[t, t]].tolist() for t in range(9)]
    # A shorter sequence has the same orders.
    assert torch.equal(Shuffled(CONTEXT, seed=5).at_bridge(encoded[:, :4]), found[:, :4])


@pytest.mark.parametrize("variant", ["shuffled", "averaged", "other"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_later_token_changes_what_is_said_now(name: str, variant: str) -> None:
    model = network(name)
    replacement = replacements(model)[variant]
    tokens = random_tokens(model, 3, CONTEXT)
    first = PREFIX if name.startswith("canonical") else 0
    for reader in readers(model):
        with replacing(replacement, reader):
            plain = model.logits(tokens)
            for t in range(first, CONTEXT - 1):
                changed = tokens.clone()
                changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % model.vocabulary
                found = model.logits(changed)
                until = t + 1 - first
                assert torch.allclose(found[:, :until], plain[:, :until], atol=1e-6)
                # A decoder of which every reader reads other vectors knows nothing of its sequence.
                blind = reader.label == "everything" and variant != "shuffled"
                assert torch.equal(found, plain) == blind


@pytest.mark.parametrize("name", ["deepsight", "canonical"])
def test_a_prefix_of_a_sequence_is_replaced_as_the_whole_is(name: str) -> None:
    """Generation without a cache reads longer and longer sequences."""
    model = network(name)
    tokens = random_tokens(model, 3, CONTEXT)
    for replacement in replacements(model).values():
        for reader in readers(model):
            with replacing(replacement, reader):
                whole = model.logits(tokens)
                part = model.logits(tokens[:, : CONTEXT - 2])
            assert torch.allclose(part, whole[:, : part.shape[1]], atol=1e-5)
