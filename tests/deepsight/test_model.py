"""The architectures: what they may see, what they hold, and how their weights begin."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.blocks import FeedForward
from deepsight.building import build_model, build_objectives, weight_digests
from deepsight.counting import parameter_count
from deepsight.errors import UserError
from deepsight.initialisation import initialise
from deepsight.layers import CrossAttention, SelfAttention, TokenAndPosition
from deepsight.presets import load_run
from tests.models import (
    ARCHITECTURES,
    EVERY_ARCHITECTURE,
    lively,
    model_shapes,
    random_tokens,
    random_trace,
    small_model,
)


@given(shape=model_shapes(), data=st.data())
def test_nothing_moves_when_later_tokens_change(shape: dict[str, Any], data: st.DataObject) -> None:
    model = lively(small_model(**shape, dtype=torch.float64))
    time = data.draw(st.integers(2, shape["context"]))
    position = data.draw(st.integers(0, time - 2))
    tokens = random_tokens(model, 2, time)
    changed = tokens.clone()
    changed[:, position + 1 :] = random_tokens(model, 2, time - position - 1, seed=1)
    before, after = (model(t, t) for t in (tokens, changed))
    seen = slice(None), slice(position + 1)
    for state in ("input_embeddings", "encoder_output", "decoder_output"):
        assert_close(getattr(before, state)[seen], getattr(after, state)[seen], atol=1e-12, rtol=1e-12)


@given(shape=model_shapes(), data=st.data())
def test_every_earlier_token_moves_the_logits(shape: dict[str, Any], data: st.DataObject) -> None:
    # Wide enough that a norm leaves something of a change; a norm over one number is constant.
    shape = shape | {"width": 4 * shape["heads"]}
    model = lively(small_model(**shape, dtype=torch.float64))
    time = data.draw(st.integers(1, shape["context"]))
    position = data.draw(st.integers(0, time - 1))
    tokens = random_tokens(model, 1, time)
    changed = tokens.clone()
    changed[0, position] = (changed[0, position] + 1) % model.vocabulary
    assert not torch.equal(model.logits(tokens)[0, -1], model.logits(changed)[0, -1])


@given(shape=model_shapes(), data=st.data())
def test_cached_logits_equal_whole_ones_however_the_text_is_cut(shape: dict[str, Any], data: st.DataObject) -> None:
    model = lively(small_model(**shape, dtype=torch.float64))
    tokens = random_tokens(model, 2, shape["context"])
    cuts = [*sorted(data.draw(st.sets(st.integers(1, shape["context"] - 1)))), shape["context"]]
    cache, start, whole = model.new_cache(), 0, model.logits(tokens)
    for end in cuts:
        assert_close(model.next_logits(tokens[:, start:end], cache), whole[:, end - 1], atol=1e-10, rtol=1e-10)
        start = end


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_window_beyond_the_context_is_an_error(architecture: str) -> None:
    model = small_model(architecture, context=4)
    with pytest.raises(UserError, match="the model sees 4 tokens at most, not 5"):
        model.logits(torch.zeros(1, 5, dtype=torch.int64))
    # One that a table of one row would otherwise be spread over.
    with pytest.raises(UserError, match="1 tokens at most, not 2"):
        small_model(architecture, context=1).logits(torch.zeros(1, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("deepsight-paper", 15_763_500),
        ("encoder-decoder-paper", 15_763_500),
        ("baseline-paper", 16_036_800),
        ("smaller-baseline-paper", 15_441_192),
        ("dropout-baseline-paper", 16_036_800),
    ],
)
def test_published_counts_without_positions(preset: str, count: int) -> None:
    config = load_run(preset)
    model = build_model(config, "meta")
    objectives = build_objectives(config, model.shape, "meta")
    found = parameter_count(model) + parameter_count(objectives) - parameter_count(model.embedding.position)
    assert found == count


@given(encoder=st.integers(1, 4), decoder=st.integers(1, 4), heads=st.integers(1, 3), per_head=st.integers(1, 4))
def test_counts_by_hand(encoder: int, decoder: int, heads: int, per_head: int) -> None:
    """Encoder and decoder have depths of their own, and each part is as large as the formula says."""
    width, vocabulary, context = heads * per_head, 11, 5
    shape: dict[str, Any] = {"width": width, "heads": heads, "vocabulary": vocabulary, "context": context}
    embeddings = (vocabulary + context) * width
    block = 4 * width**2 + 8 * width**2 + 2 * width
    cross = width**2 + 2 * width**2 + width**2 + 2 * width
    deepsight = small_model("deepsight", layers=[encoder, decoder], **shape)
    assert parameter_count(deepsight) == (embeddings + (encoder + decoder) * block + decoder * cross + width**2 + width)
    baseline = small_model("baseline", layers=[encoder, decoder], **shape)
    assert parameter_count(baseline) == embeddings + (encoder + decoder) * block + width


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_feed_forward_changes_the_feed_forward_layers_alone(architecture: str) -> None:
    inner = 23
    plain, other = (small_model(architecture, layers=[2, 1], feed_forward=value) for value in (None, inner))
    before, after = ({name: tuple(w.shape) for name, w in model.named_parameters()} for model in (plain, other))
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {n for n in before if ".feed_forward." in n}
    shapes = {name: shape for name, shape in after.items() if ".feed_forward." in name}
    assert len(shapes) == 2 * 3
    assert {shape for name, shape in shapes.items() if name.endswith("expand.weight")} == {(inner, 16)}
    assert {shape for name, shape in shapes.items() if name.endswith("output.weight")} == {(16, inner)}
    same = weight_digests(plain).items() & weight_digests(other).items()
    assert {name for name, _ in same} == before.keys() - shapes.keys()
    assert parameter_count(plain) - parameter_count(other) == 3 * 2 * 16 * (64 - inner)


@given(width=st.integers(1, 6), inner=st.none() | st.integers(1, 9))
def test_a_feed_forward_is_two_maps_with_a_gelu_between(width: int, inner: int | None) -> None:
    layer = FeedForward(width, 0.0, 1.0, inner).double()
    hidden = torch.randn(1, 3, width, dtype=torch.float64)
    expand, output = layer.expand.weight.tolist(), layer.output.weight.tolist()
    assert len(expand) == (inner or 4 * width)
    for state, found in zip(hidden[0].tolist(), layer(hidden)[0].tolist(), strict=True):
        inside = [sum(weight * x for weight, x in zip(row, state, strict=True)) for row in expand]
        gelu = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in inside]
        expected = [sum(weight * x for weight, x in zip(row, gelu, strict=True)) for row in output]
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_initial_weights_have_their_std(architecture: str) -> None:
    model = small_model(architecture, width=128, heads=4, layers=[3, 2], vocabulary=300, context=64)
    residual_layers = 5 if architecture == "baseline" else 3
    for name, weight in model.named_parameters():
        if "norm" in name:
            assert torch.equal(weight, torch.ones_like(weight)), name
            continue
        expected = 0.02 / (2 * residual_layers) ** 0.5 if name.endswith("output.weight") else 0.02
        # Five standard errors of a standard deviation over so many draws.
        error = 5 / (2 * weight.numel()) ** 0.5
        assert weight.std().item() == pytest.approx(expected, rel=error), name
        assert abs(weight.mean().item()) < 5 * expected / weight.numel() ** 0.5, name


def test_a_weight_of_one_name_and_shape_starts_equal_whatever_else_is_built() -> None:
    plain = weight_digests(small_model("deepsight", layers=[2, 2]))
    deeper = weight_digests(small_model("deepsight", layers=[2, 3]))
    wider_vocabulary = weight_digests(small_model("deepsight", layers=[2, 2], vocabulary=40))
    baseline = weight_digests(small_model("baseline", layers=4))
    assert plain.items() <= deeper.items()
    differ = {name for name in plain if plain[name] != wider_vocabulary[name]}
    assert differ == {"embedding.token.weight"}
    shared = plain.keys() & baseline.keys()
    assert shared == {"embedding.token.weight", "embedding.position.weight", "final_norm.weight"}
    assert all(plain[name] == baseline[name] for name in shared)


def test_weights_follow_the_seed_and_not_the_global_generator() -> None:
    torch.manual_seed(1)
    first = weight_digests(small_model(seed=3))
    torch.manual_seed(2)
    assert weight_digests(small_model(seed=3)) == first
    other = weight_digests(small_model(seed=4))
    assert all(other[name] != digest for name, digest in first.items() if "norm" not in name)


def test_no_two_weights_are_drawn_alike() -> None:
    digests = [digest for name, digest in weight_digests(small_model()).items() if "norm" not in name]
    assert len(set(digests)) == len(digests)


def test_initialising_leaves_other_modules_alone() -> None:
    module = torch.nn.Linear(3, 3)
    before = module.weight.clone()
    initialise(module, seed=0)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_unembedding_is_the_token_embedding(architecture: str) -> None:
    model = small_model(architecture)
    assert model.unembedding is model.embedding.token.weight
    trace = random_trace(model)
    assert trace.unembedding is model.unembedding
    logits = model.logits(trace.tokens)
    assert_close(trace.decoder_output @ model.embedding.token.weight.T, logits, atol=0, rtol=0)
    names = [name for name, weight in model.named_parameters() if weight.shape[0] == model.vocabulary]
    assert names == ["embedding.token.weight"]


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_dropout_acts_in_training_alone(architecture: str) -> None:
    tokens = torch.ones(2, 9, dtype=torch.int64)
    plain, dropping = (lively(small_model(architecture, dropout=p)) for p in (0.0, 0.5))
    assert torch.equal(plain.logits(tokens), plain.logits(tokens))
    assert not torch.equal(dropping.logits(tokens), dropping.logits(tokens))
    assert_close(dropping.eval().logits(tokens), plain.eval().logits(tokens), atol=0, rtol=0)
    trace = dropping.train()(tokens, tokens)
    dropped = (trace.input_embeddings == 0).float().mean().item()
    assert dropped == pytest.approx(0.5, abs=0.1)


def test_dropout_reaches_every_branch() -> None:
    """Embeddings, attention weights, and the three residual branches, each alone."""
    model = lively(small_model(dropout=0.3))
    tokens = torch.ones(1, 6, dtype=torch.int64)
    for kind in (TokenAndPosition, SelfAttention, CrossAttention, FeedForward):
        _only_dropout_in(model, kind)
        assert not torch.equal(model.logits(tokens), model.logits(tokens)), kind
        if kind in (SelfAttention, CrossAttention):
            _only_dropout_in(model, kind, weights=False)
            assert not torch.equal(model.logits(tokens), model.logits(tokens)), kind


def _only_dropout_in(model: Architecture, kind: type[torch.nn.Module], weights: bool = True) -> None:
    for part in model.modules():
        chosen = isinstance(part, kind)
        if hasattr(part, "attention_dropout"):
            part.attention_dropout = 0.3 if chosen and weights else 0.0
        if isinstance(getattr(part, "dropout", None), torch.nn.Dropout):
            part.dropout.p = 0.3 if chosen and (not weights or not hasattr(part, "attention_dropout")) else 0.0
