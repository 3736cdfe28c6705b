"""The sibling: what each of its parameters does, against formulas written out; the reference values are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight.building import build_model, build_objectives, weight_digests
from deepsight.config import ModelConfig, run_config
from deepsight.counting import parameter_count
from deepsight.encoder_decoder import EncoderDecoder
from deepsight.errors import UserError
from deepsight.generation import generate
from deepsight.presets import load_run
from deepsight.validation import validated
from deepsight.yaml_files import dump_yaml, parse_yaml
from tests.models import lively, random_tokens, random_trace, small_model
from tests.runs import run_data

EXACT = {"atol": 1e-10, "rtol": 1e-10}

variants = st.fixed_dictionaries(
    {
        "attention_order": st.sampled_from(["self_first", "cross_first"]),
        "subtract_positions": st.sampled_from(["none", "plain", "normed"]),
        "add_positions": st.booleans(),
        "bridge_norm": st.booleans(),
    }
)
NOTHING = {"subtract_positions": "none"}


def sibling(parameters: dict[str, Any], **shape: Any) -> Any:
    """Return a small sibling in float64 whose weights all matter."""
    return lively(small_model({"name": "encoder_decoder", **parameters}, dtype=torch.float64, **shape))


def without_options(model: Any) -> Any:
    """Return a model without options that has the same weights where it has them."""
    plain = sibling(NOTHING)
    weights = {name: value for name, value in model.state_dict().items() if name in plain.state_dict()}
    weights["embedding.position.weight"] = weights["embedding.position.weight"][:12]
    plain.load_state_dict(weights)
    return plain


def normed(vectors: Tensor, gain: Tensor) -> Tensor:
    centred = vectors - vectors.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * gain


def test_without_options_it_is_deepsights_network() -> None:
    model = small_model({"name": "encoder_decoder", **NOTHING})
    deepsight = small_model("deepsight")
    assert weight_digests(model) == weight_digests(deepsight)
    tokens = random_tokens(model, 2, 12)
    assert torch.equal(model.logits(tokens), deepsight.logits(tokens))


@pytest.mark.parametrize("kind", ["plain", "normed"])
def test_the_next_positions_embedding_is_subtracted_from_what_is_unembedded(kind: str) -> None:
    model = sibling({"subtract_positions": kind})
    tokens = random_tokens(model, 2, 12)
    plain, found = (m(tokens, tokens).decoder_output for m in (without_options(model), model))
    table = model.embedding.position.weight
    for position in range(12):
        expected = plain[:, position] - table[position + 1]
        if kind == "normed":
            expected = normed(expected, model.subtraction_norm.weight)
        assert_close(found[:, position], expected, **EXACT)


@pytest.mark.parametrize("bridge_norm", [False, True])
@pytest.mark.parametrize("add_positions", [False, True])
def test_what_enters_the_decoder(add_positions: bool, bridge_norm: bool) -> None:
    model = sibling({**NOTHING, "add_positions": add_positions, "bridge_norm": bridge_norm})
    entered: list[Tensor] = []
    model.decoder[0].register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    trace = random_trace(model)
    crossing = normed(trace.encoder_output, model.bridge_norm.weight) if bridge_norm else trace.encoder_output
    for position in range(12):
        expected = crossing[:, position] @ model.bridge.weight.T
        if add_positions:
            expected = expected + model.embedding.position.weight[position + 1]
        assert_close(entered[0][:, position], expected, **EXACT)


@pytest.mark.parametrize("order", ["self_first", "cross_first"])
def test_the_order_of_attentions(order: str) -> None:
    block = sibling({"attention_order": order}, layers=[1, 1]).decoder[0]
    hidden, encoded = torch.randn(2, 2, 7, 16, dtype=torch.float64)
    expected = hidden
    for part in ("self", "cross") if order == "self_first" else ("cross", "self"):
        if part == "self":
            expected = expected + block.attention(block.attention_norm(expected))
        else:
            query, read = block.cross_attention_norm(expected), block.encoder_norm(encoded)
            expected = expected + block.cross_attention(query, read)
    expected = expected + block.feed_forward(block.feed_forward_norm(expected))
    assert_close(block(hidden, encoded), expected, **EXACT)


@given(parameters=variants, data=st.data())
def test_no_variant_sees_later_tokens(parameters: dict[str, Any], data: st.DataObject) -> None:
    model = sibling(parameters)
    position = data.draw(st.integers(0, 10))
    tokens = random_tokens(model, 2, 12)
    changed = tokens.clone()
    changed[:, position + 1 :] = random_tokens(model, 2, 11 - position, seed=1)
    seen = slice(None), slice(position + 1)
    assert_close(model.logits(tokens)[seen], model.logits(changed)[seen], atol=1e-12, rtol=1e-12)


@given(parameters=variants, data=st.data())
def test_a_cache_knows_which_position_comes_next(parameters: dict[str, Any], data: st.DataObject) -> None:
    """However the text is cut, up to the last position, and after a part of it was forgotten."""
    model = sibling(parameters)
    tokens = random_tokens(model, 2, 12)
    whole, cache, start = model.logits(tokens), model.new_cache(), 0
    for end in [*sorted(data.draw(st.sets(st.integers(1, 11), max_size=4))), 12]:
        assert_close(model.next_logits(tokens[:, start:end], cache), whole[:, end - 1], **EXACT)
        start = end
    kept = data.draw(st.integers(1, 11))
    model.forget(cache, kept)
    assert_close(model.next_logits(tokens[:, kept : kept + 1], cache), whole[:, kept], **EXACT)


def test_generation_goes_on_past_the_context() -> None:
    model = sibling({"subtract_positions": "normed", "add_positions": True}).eval()
    row = [1, 2, 3]
    for _ in range(20):
        row.append(int(model.logits(torch.tensor([row[-12:]]))[0, -1].argmax()))
    assert generate(model, [1, 2, 3], 20, temperature=0).tolist() == [row[3:]]


@given(parameters=variants)
def test_counts_by_hand(parameters: dict[str, Any]) -> None:
    deepsight = small_model("deepsight")
    next_position = parameters["subtract_positions"] != "none" or parameters["add_positions"]
    gains = parameters["bridge_norm"] + (parameters["subtract_positions"] == "normed")
    model = sibling(parameters)
    assert parameter_count(model) == parameter_count(deepsight) + 16 * (next_position + gains)
    assert model.embedding.position.weight.shape == (12 + next_position, 16)
    model.logits(random_tokens(model, 1, 12)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())
    # The last row is a position like any other: it learns from the last token of a window.
    assert model.embedding.position.weight.grad[-1].any()


def test_the_published_count() -> None:
    """As DeepSight's: the network without its positions, and the loss's two norms with gain and bias."""
    config = load_run("encoder-decoder-paper")
    model = build_model(config, "meta")
    norms = parameter_count(build_objectives(config, model.shape, "meta"))
    assert norms == 2 * 2 * 150
    positions = model.embedding.position
    assert positions is not None
    assert positions.weight.shape == (201, 150)
    assert parameter_count(model) - parameter_count(positions) + norms == 15_763_500


@pytest.mark.parametrize("parameters", [{}, {"subtract_positions": "normed"}, {**NOTHING, "add_positions": True}])
def test_rotary_positions_cannot_be_subtracted_or_added(parameters: dict[str, Any]) -> None:
    architecture = {"name": "encoder_decoder", **parameters}
    said = r"positions: encoder_decoder subtracts or adds learned position embeddings, and rotary positions have none"
    with pytest.raises(UserError, match=rf"^model\.{said}"):
        run_config(run_data(Path(), model__architecture=architecture, model__positions="rotary"))
    config = ModelConfig(width=16, heads=2, layers=[1, 1], context=12, positions="rotary")
    with pytest.raises(UserError, match=rf"^{said}"):
        EncoderDecoder(config, 31, **parameters)


def test_rotary_positions_are_fine_without() -> None:
    model = sibling({**NOTHING, "attention_order": "cross_first"}, positions="rotary")
    assert model.embedding.position is None
    tokens, cache = random_tokens(model, 1, 12), model.new_cache()
    model.next_logits(tokens[:, :7], cache)
    assert_close(model.next_logits(tokens[:, 7:], cache), model.logits(tokens)[:, -1], **EXACT)


def test_a_run_names_its_parameters() -> None:
    data = run_data(Path(), model__architecture={"name": "encoder_decoder", "attention_order": "cross_first"})
    del data["objective"]
    run = run_config(data)
    assert run.model.architecture == {
        "name": "encoder_decoder",
        "attention_order": "cross_first",
        "subtract_positions": "plain",
        "add_positions": False,
        "bridge_norm": False,
    }
    assert [spec["name"] for spec in run.objective] == ["embedding"]
    assert run_config(parse_yaml(dump_yaml(run.complete()), "run")) == run
    assert run_config(run_data(Path(), model__architecture="encoder_decoder")).model.cross_heads == 2


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"architecture": {"name": "encoder_decoder", "attention_order": "cros_first"}}, "did you mean 'cross_first'?"),
        ({"layers": 4}, r"^layers: encoder_decoder needs \[encoder, decoder\] layers, each at least 1, not 4$"),
    ],
)
def test_mistakes_are_named(shape: dict[str, Any], said: str) -> None:
    written = {"architecture": "encoder_decoder", "width": 16, "heads": 2, "layers": [1, 1], "context": 12, **shape}
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        EncoderDecoder.normalised(validated(ModelConfig, written))
