"""The classical encoder–decoder: what it sees and predicts, against the same network written out whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight.building import build_model, build_objectives, weight_digests
from deepsight.canonical import Canonical
from deepsight.config import run_config
from deepsight.counting import cost_of, parameter_count
from deepsight.errors import UserError
from deepsight.generation import generate
from deepsight.layers import rotated
from deepsight.merging import merged
from deepsight.plug_ins import objectives
from deepsight.presets import preset
from deepsight.speculative import Drafting, speculate
from deepsight.trace import IGNORED
from deepsight.training.step import accumulate_gradients
from tests.models import lively, random_tokens, random_trace, small_model
from tests.runs import run_data

PREFIX, CONTEXT = 5, 12
EXACT = {"atol": 1e-10, "rtol": 1e-10}


def canonical(prefix: int | None = PREFIX, **shape: Any) -> Canonical:
    shape = {"context": CONTEXT, "dtype": torch.float64, **shape}
    model = lively(small_model({"name": "canonical", "prefix": prefix}, **shape))
    assert isinstance(model, Canonical)
    return model


@st.composite
def canonical_shapes(draw: st.DrawFn) -> dict[str, Any]:
    heads, context = draw(st.integers(1, 3)), draw(st.integers(2, 9))
    return {
        "prefix": draw(st.integers(1, context - 1)),
        "context": context,
        "heads": heads,
        "width": heads * draw(st.integers(2, 4)),
        "layers": [draw(st.integers(1, 2)), draw(st.integers(1, 3))],
        "vocabulary": draw(st.integers(2, 20)),
        "positions": draw(st.sampled_from(["learned", "rotary"])),
    }


def attended(part: Any, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor, starts: tuple[int, int]) -> Any:
    """Attention of one sequence by its formula, head by head; queries and keys stand at positions from `starts` on."""
    heads = []
    split = [states.unflatten(-1, (part.heads, -1)) for states in (queries, keys, values)]
    if part.rotary:
        split[:2] = [rotated(states[None], start)[0] for states, start in zip(split[:2], starts, strict=True)]
    for head in range(part.heads):
        query, key, value = (states[:, head] for states in split)
        scores = (query @ key.T / query.shape[-1] ** 0.5).masked_fill(~visible, -torch.inf)
        heads.append(scores.softmax(dim=-1) @ value)
    return torch.cat(heads, dim=-1) @ part.output.weight.T


def fed_forward(block: Any, hidden: Tensor) -> Tensor:
    part = block.feed_forward
    inside = F.gelu(block.feed_forward_norm(hidden) @ part.expand.weight.T)
    return hidden + inside @ part.output.weight.T


def naive_logits(model: Canonical, tokens: list[int]) -> Tensor:
    """The formulas for one sequence: the whole prefix encoded at once, then the decoder."""
    table, width, prefix = model.embedding.token.weight, model.config.width, model.prefix
    embedded = table[tokens]
    if model.embedding.position is not None:
        embedded = embedded + model.embedding.position.weight[: len(tokens)]
    encoded, hidden = embedded[:prefix], embedded[prefix:]
    everything = torch.ones(prefix, prefix, dtype=torch.bool)
    for block in model.encoder:
        normed = block.attention_norm(encoded) @ block.attention.query_key_value.weight.T
        encoded = encoded + attended(block.attention, *normed.split(width, dim=-1), everything, (0, 0))
        encoded = fed_forward(block, encoded)
    time = len(tokens) - prefix
    earlier = torch.ones(time, time, dtype=torch.bool).tril()
    for block in model.decoder:
        normed = block.attention_norm(hidden) @ block.attention.query_key_value.weight.T
        starts = (prefix, prefix)
        hidden = hidden + attended(block.attention, *normed.split(width, dim=-1), earlier, starts)
        cross = block.cross_attention
        query = block.cross_attention_norm(hidden) @ cross.query.weight.T
        key, value = (block.encoder_norm(encoded) @ cross.key_value.weight.T).split(width, dim=-1)
        visible = torch.ones(time, prefix, dtype=torch.bool)
        hidden = hidden + attended(cross, query, key, value, visible, (prefix, 0))
        hidden = fed_forward(block, hidden)
    return model.final_norm(hidden) @ table.T


@settings(max_examples=20)
@given(shape=canonical_shapes(), data=st.data())
def test_the_logits_are_those_of_the_formulas(shape: dict[str, Any], data: st.DataObject) -> None:
    model = canonical(**shape)
    tokens = random_tokens(model, 2, data.draw(st.integers(model.prefix + 1, model.config.context)))
    found = model.logits(tokens)
    assert found.shape == (2, tokens.shape[1] - model.prefix, model.vocabulary)
    for row, sequence in zip(found, tokens.tolist(), strict=True):
        assert_close(row, naive_logits(model, sequence), **EXACT)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_the_prefix_is_read_whole_and_the_rest_causally(positions: str) -> None:
    """Every prefix token moves every logit; a later token moves those from its own position on."""
    model = canonical(positions=positions)
    tokens = random_tokens(model, 1, CONTEXT)
    before = model.logits(tokens)[0]
    for changed in range(CONTEXT):
        other = tokens.clone()
        other[0, changed] = (other[0, changed] + 1) % model.vocabulary
        moved = (model.logits(other)[0] - before).abs().amax(dim=-1) > 1e-9
        first = max(0, changed - PREFIX)
        assert moved.tolist() == [row >= first for row in range(CONTEXT - PREFIX)], changed


def test_the_encoder_has_no_mask_and_the_decoder_has() -> None:
    """The gradient of each encoder state reaches every prefix position."""
    model = canonical()
    embedded = torch.randn(1, PREFIX, 16, dtype=torch.float64, requires_grad=True)
    encoded = embedded
    for block in model.encoder:
        encoded = block(encoded)
    (gradient,) = torch.autograd.grad(encoded[0, 0].sum(), embedded)
    assert (gradient[0].abs().amax(dim=-1) > 0).all()
    assert [block.attention.causal for block in model.decoder] == [True, True]
    assert [block.cross_attention.causal for block in model.decoder] == [False, False]


def test_a_trace_covers_the_continuation_alone() -> None:
    model = canonical(layers=[2, 3])
    tokens = random_tokens(model, 2, CONTEXT + 1)
    trace = model(tokens[:, :-1], tokens[:, 1:])
    assert torch.equal(trace.tokens, tokens[:, PREFIX:-1])
    assert torch.equal(trace.targets, tokens[:, PREFIX + 1 :])
    assert trace.prefix is not None
    assert torch.equal(trace.prefix, tokens[:, :PREFIX])
    assert torch.equal(trace.input_embeddings, model.embedding(tokens[:, :-1])[:, PREFIX:])
    assert_close(trace.decoder_output @ trace.unembedding.T, model.logits(tokens[:, :-1]), atol=0, rtol=0)
    assert len(trace.layers) == model.shape.layers == 3
    assert trace.encoder_output is trace.layers[1]
    assert_close(trace.decoder_output, model.final_norm(trace.layers[-1]), atol=0, rtol=0)
    assert model.shape.context == trace.tokens.shape[1] == CONTEXT - PREFIX
    assert model.first_predicted(model.config) == PREFIX


@pytest.mark.parametrize(("layers", "middle"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_the_encoder_output_is_the_decoders_middle_state(layers: int, middle: int) -> None:
    trace = random_trace(canonical(layers=[1, layers]))
    assert trace.encoder_output is trace.layers[middle - 1]


def test_no_state_of_a_trace_knows_a_later_token() -> None:
    model = canonical()
    tokens = random_tokens(model, 1, CONTEXT)
    before = model(tokens, tokens)
    other = tokens.clone()
    other[0, -1] = (other[0, -1] + 1) % model.vocabulary
    after = model(other, other)
    for name in ("input_embeddings", "encoder_output", "decoder_output"):
        assert_close(getattr(before, name)[:, :-1], getattr(after, name)[:, :-1], **EXACT)
    for left, right in zip(before.layers, after.layers, strict=True):
        assert_close(left[:, :-1], right[:, :-1], **EXACT)


def test_the_network_of_a_trace_reads_another_continuation_of_the_same_prefix() -> None:
    model = canonical()
    trace = random_trace(model)
    changed = (trace.tokens + 1) % model.vocabulary
    ignored = trace.targets.masked_fill(trace.targets > 9, IGNORED)
    found = trace.network(changed, ignored)
    assert torch.equal(found.tokens, changed)
    assert torch.equal(found.targets, ignored)
    expected = model.logits(torch.cat([trace.prefix, changed], dim=1))
    assert_close(found.decoder_output @ found.unembedding.T, expected, atol=0, rtol=0)


@settings(max_examples=20)
@given(shape=canonical_shapes(), data=st.data())
def test_cached_logits_equal_whole_ones_however_the_text_is_cut(shape: dict[str, Any], data: st.DataObject) -> None:
    model = canonical(**shape)
    first, context = model.prefix + 1, model.config.context
    tokens = random_tokens(model, 2, context)
    cuts = data.draw(st.sets(st.integers(first, context))) | {context}
    cache, start, whole = model.new_cache(), 0, model.logits(tokens)
    for end in sorted(cuts):
        assert model.tokens_read(cache) == start
        assert_close(model.next_logits(tokens[:, start:end], cache), whole[:, end - first], **EXACT)
        start = end


@pytest.mark.parametrize("kept", [0, PREFIX, PREFIX + 1, CONTEXT - 1])
def test_a_cache_forgets_the_last_tokens(kept: int) -> None:
    model = canonical()
    tokens, other = random_tokens(model, 2, CONTEXT), random_tokens(model, 2, CONTEXT, seed=1)
    cache = model.new_cache()
    model.next_logits(tokens, cache)
    model.forget(cache, kept)
    # A prefix alone is not kept.
    read = model.tokens_read(cache)
    assert read == (kept if kept > PREFIX else 0)
    text = torch.cat([tokens[:, :read], other[:, read:]], dim=1)
    assert_close(model.next_logits(text[:, read:], cache), model.logits(text)[:, -1], **EXACT)


@pytest.mark.parametrize("prompt", [PREFIX + 1, CONTEXT - 2, CONTEXT + 3])
def test_speculation_gives_the_tokens_of_greedy_decoding(prompt: int) -> None:
    model = canonical(positions="rotary")
    objective = objectives.build({"name": "multi_token", "n": 3}, shape=model.shape).double()
    tokens = random_tokens(model, 1, prompt)[0]
    found = speculate(model, Drafting(objective, "decoder"), tokens, 11)
    assert found.drafted > 0 or prompt >= CONTEXT
    assert found.tokens.tolist() == generate(model, tokens, 11, temperature=0)[0].tolist()


@settings(max_examples=20)
@given(shape=canonical_shapes(), count=st.integers(1, 14), data=st.data())
def test_greedy_with_and_without_cache_equals_the_naive_loop(
    shape: dict[str, Any], count: int, data: st.DataObject
) -> None:
    model = canonical(**shape).eval()
    prompt = random_tokens(model, 2, data.draw(st.integers(model.prefix + 1, model.config.context + 3)))
    expected = []
    for row in prompt.tolist():
        for _ in range(count):
            row.append(int(naive_logits(model, row[-model.config.context :])[-1].argmax()))
        expected.append(row[-count:])
    assert generate(model, prompt, count, temperature=0).tolist() == expected
    assert generate(model, prompt, count, temperature=0, use_cache=False).tolist() == expected


@pytest.mark.parametrize("length", [1, PREFIX])
@pytest.mark.parametrize("use_cache", [True, False])
def test_too_short_a_text_is_one_sentence(length: int, use_cache: bool) -> None:
    model = canonical()
    tokens = random_tokens(model, 1, length)
    said = f"the encoder of canonical reads the first 5 tokens .* at least 6 tokens are needed, not {length}$"
    with pytest.raises(UserError, match=said):
        generate(model, tokens, 3, use_cache=use_cache)
    with pytest.raises(UserError, match=said):
        model(tokens, tokens)


def test_the_prefix_is_half_the_context_when_not_given() -> None:
    assert [canonical(None, context=context).prefix for context in (2, 3, 12)] == [1, 1, 6]
    data = merged(preset("tiny"), {"model.architecture": "canonical", "objective": "none"})
    config = run_config(data)
    assert config.model.architecture == {"name": "canonical", "prefix": config.model.context // 2}
    assert run_config(config.complete()) == config
    changed = run_config(merged(data, {"model.architecture.prefix": 7}))
    assert Canonical.first_predicted(changed.model) == 7
    built = build_model(changed, "meta")
    assert isinstance(built, Canonical)
    assert built.prefix == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"architecture": {"name": "canonical", "prefix": 16}},
            r"model.architecture.prefix: a prefix of 16 leaves noth",
        ),
        ({"architecture": {"name": "canonical", "prefix": 0}}, r"model.architecture.prefix: .*1"),
        ({"architecture": {"name": "canonical", "prefx": 3}}, r"model.architecture.*'prefx'.*'prefix'"),
        (
            {"context": 1},
            r"model.architecture.prefix: a prefix of 1 leaves nothing to predict of a context of 1; give a",
        ),
        ({"layers": 3}, r"model.layers: canonical needs \[encoder, decoder\] layers, each at least 1, not 3"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], said: str) -> None:
    model = {"architecture": "canonical", "width": 16, "heads": 2, "layers": [1, 1], "context": 16}
    data = {**merged(preset("tiny"), {"objective": "none"}), "model": model | changes}
    with pytest.raises(UserError, match=said):
        run_config(data)


@pytest.mark.parametrize("prefix", [3, None])
def test_a_constructor_without_configuration_of_its_own_agrees_with_itself(prefix: int | None) -> None:
    config = small_model("deepsight").config
    model = Canonical(config, 31, prefix)
    assert model.prefix == model.first_predicted(model.config) == (prefix or 6)
    assert model.shape.context == 12 - model.prefix


def test_weights_begin_as_deepsights_of_the_same_name() -> None:
    control, model = (weight_digests(small_model(name, layers=[2, 3])) for name in ("canonical", "deepsight"))
    assert control.keys() == model.keys() - {"bridge.weight"}
    assert control.items() <= model.items()


def test_only_positions_after_the_prefix_teach() -> None:
    """The gradient is that of the mean loss over the decoder's positions, for any cut into micro-batches."""
    config = run_config(
        run_data("unread", model__architecture={"name": "canonical", "prefix": PREFIX}, objective="none")
    )
    tokens = random_tokens(build_model(config), 4, 17)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].clone()
    targets[1, 9:] = IGNORED
    model = build_model(config).double()
    logits = model.logits(inputs)
    counted = targets[:, PREFIX:] != IGNORED
    loss = F.cross_entropy(logits[counted], targets[:, PREFIX:][counted])
    expected = torch.autograd.grad(loss, list(model.parameters()))
    built = build_objectives(config, model.shape)
    for rows in (1, 3, 4):
        model.zero_grad(set_to_none=True)
        metrics = accumulate_gradients(model, built, inputs, targets, seed=0, step=0, micro_batch_size=rows)
        assert metrics["next_token"].item() == pytest.approx(loss.item(), rel=1e-6)
        for weight, gradient in zip(model.parameters(), expected, strict=True):
            assert weight.grad is not None
            assert_close(weight.grad, gradient, **EXACT)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_costs_by_hand(positions: str) -> None:
    """FLOPs are divided by all tokens that are read; the encoder's too."""
    width, context, prefix, vocabulary = 24, 40, 16, 257
    shape = {"model__width": width, "model__context": context, "model__heads": 3, "model__layers": [2, 3]}
    architecture = {"name": "canonical", "prefix": prefix}
    changes = {"model__architecture": architecture, "model__positions": positions, "objective": "none"}
    config = run_config(run_data("unread", **(shape | changes)))
    cost = cost_of(config)
    decoded = context - prefix
    block, pair = 12 * width**2, 2 * width
    encoder = 2 * (prefix * block + prefix**2 * pair)
    decoder = 3 * (decoded * (block + 2 * width**2) + prefix * 2 * width**2 + (decoded**2 + decoded * prefix) * pair)
    assert cost.inference_flops_per_token == 2 * (encoder + decoder + decoded * vocabulary * width) // context
    table = vocabulary * width + (context * width if positions == "learned" else 0)
    by_hand = 2 * (block + 2 * width) + 3 * (block + 4 * width**2 + 4 * width) + width + table
    assert cost.inference == by_hand == parameter_count(build_model(config))
    assert cost.without_positions == by_hand - (context * width if positions == "learned" else 0)
