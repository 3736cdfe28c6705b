"""Rotary positions: against complex numbers in float64, and what every architecture does with them."""

from __future__ import annotations

import cmath
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from typer.testing import CliRunner

from deepsight.architecture import Architecture
from deepsight.attention import attend
from deepsight.building import build_model, build_objectives
from deepsight.cli.app import app
from deepsight.config import run_config
from deepsight.counting import cost_of, parameter_count
from deepsight.errors import UserError
from deepsight.generation import generate
from deepsight.layers import CrossAttention, LayerCache, SelfAttention, rotated
from deepsight.loading import load_trained
from deepsight.merging import merged
from deepsight.plug_ins import architectures
from deepsight.presets import preset
from deepsight.training.loop import Trainer
from tests.models import lively, random_tokens, small_model
from tests.runs import run_data, run_of, source_of, write_text

EXACT = {"atol": 1e-10, "rtol": 1e-10}
ROTARY_ARCHITECTURES: list[str | dict[str, Any]] = [
    "deepsight",
    "baseline",
    {"name": "canonical", "prefix": 3},
    {"name": "encoder_decoder", "subtract_positions": "none"},
    {"name": "encoder_decoder", "subtract_positions": "none", "attention_order": "cross_first"},
]

on_every_architecture = pytest.mark.parametrize("architecture", ROTARY_ARCHITECTURES, ids=str)


def rotary_model(architecture: str | dict[str, Any], **shape: Any) -> Architecture:
    return lively(small_model(architecture, positions="rotary", dtype=torch.float64, **shape))


def turned_by_hand(state: list[float], position: int) -> list[float]:
    """Pairs of dimensions as complex numbers, each multiplied by e^(i · position · frequency)."""
    half = len(state) // 2
    turned = list(state)
    for i in range(half):
        angle = position * math.pow(10_000, -2 * i / (2 * half))
        number = complex(state[i], state[i + half]) * cmath.exp(1j * angle)
        turned[i], turned[i + half] = number.real, number.imag
    return turned


def random_states(batch: int, time: int, heads: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, heads, width, generator=generator, dtype=torch.float64)


widths = st.integers(1, 17)


@given(batch=st.integers(1, 2), time=st.integers(1, 5), heads=st.integers(1, 3), width=widths, data=st.data())
def test_it_is_a_multiplication_of_complex_numbers(
    batch: int, time: int, heads: int, width: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, 5000))
    states = random_states(batch, time, heads, width)
    found = rotated(states, start)
    for b in range(batch):
        for t in range(time):
            for h in range(heads):
                expected = turned_by_hand(states[b, t, h].tolist(), start + t)
                assert found[b, t, h].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    if width % 2:
        assert torch.equal(found[..., -1], states[..., -1])
    assert_close(found.norm(dim=-1), states.norm(dim=-1), atol=1e-12, rtol=1e-12)


@given(width=widths, query=st.integers(0, 300), key=st.integers(0, 300), shift=st.integers(0, 3000))
def test_a_product_of_two_depends_on_their_distance_alone(width: int, query: int, key: int, shift: int) -> None:
    states = random_states(1, 2, 1, width)

    def product(left: int, right: int) -> torch.Tensor:
        return (rotated(states[:, :1], left) * rotated(states[:, 1:], right)).sum()

    assert_close(product(query + shift, key + shift), product(query, key), atol=1e-9, rtol=0)


@pytest.mark.parametrize("width", [2, 3, 8, 15])
def test_a_product_of_two_does_depend_on_their_distance(width: int) -> None:
    states = random_states(1, 1, 1, width)
    products = [(states * rotated(states, distance)).sum().item() for distance in range(6)]
    assert len({round(product, 6) for product in products}) == 6


@pytest.mark.parametrize("width", [4, 15])
@pytest.mark.parametrize("shift", [1, 17, 400])
@pytest.mark.parametrize("causal", [True, False])
def test_shifting_all_positions_changes_no_attention(width: int, shift: int, causal: bool) -> None:
    query, key, value = (random_states(2, 7, 3, width, seed) for seed in range(3))

    def output(start: int) -> torch.Tensor:
        return attend(rotated(query, start), rotated(key, start), value, causal=causal)

    assert_close(output(shift), output(0), **EXACT)
    assert (output(0) - attend(query, key, value, causal=causal)).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_late_position_is_exact_in_half_precision(dtype: torch.dtype) -> None:
    """Neighbours far out in a text still differ by one step; bfloat16 knows no odd number above 256."""
    states = random_states(1, 2, 2, 16).to(dtype)
    found = rotated(states, 4001)
    assert found.dtype == dtype
    tolerance = 2 * torch.finfo(dtype).eps + 4002 * torch.finfo(torch.float32).eps
    assert_close(found.double(), rotated(states.double(), 4001), atol=4 * tolerance, rtol=0)


@given(width=st.integers(1, 9), cuts=st.sets(st.integers(1, 7)))
def test_keys_enter_a_cache_at_their_own_positions(width: int, cuts: set[int]) -> None:
    attention = SelfAttention(2 * width, 2, 0.0, 0.02, rotary=True).double()
    hidden = random_states(2, 8, 1, 2 * width)[:, :, 0]
    whole, cache, start = attention(hidden), LayerCache(8), 0
    for end in sorted({*cuts, 8}):
        assert_close(attention(hidden[:, start:end], cache), whole[:, start:end], **EXACT)
        start = end


@pytest.mark.parametrize("start", [None, 0, 6])
def test_cross_attention_puts_both_sides_on_one_time_axis(start: int | None) -> None:
    """Queries from position `start`, keys from position 0: by the formula, and not by where a row stands."""
    causal, time, keys = start is None, 4, 4 if start is None else 6
    attention = CrossAttention(10, 2, 0.0, 0.02, rotary=True, causal=causal).double()
    hidden, encoded = random_states(1, time, 1, 10)[0, :, 0], random_states(1, keys, 1, 10, seed=1)[0, :, 0]
    found = attention(hidden[None], encoded[None], start=start)[0]
    query = (hidden @ attention.query.weight.T).unflatten(-1, (2, 5))
    key, value = (encoded @ attention.key_value.weight.T).unflatten(-1, (2, 2, 5)).unbind(1)
    expected = torch.zeros(time, 2, 5, dtype=torch.float64)
    for i in range(time):
        for head in range(2):
            turned = turned_by_hand(query[i, head].tolist(), (start or 0) + i)
            seen = range(i + 1 if causal else keys)
            scores = [
                math.fsum(a * b for a, b in zip(turned, turned_by_hand(key[j, head].tolist(), j), strict=True))
                for j in seen
            ]
            weights = [math.exp(score / math.sqrt(5)) for score in scores]
            expected[i, head] = sum(w / sum(weights) * value[j, head] for j, w in zip(seen, weights, strict=True))
    assert_close(found, expected.flatten(-2) @ attention.output.weight.T, **EXACT)


def without_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepsight.layers.rotated", lambda states, *_: states)


@on_every_architecture
def test_a_model_has_no_position_table_and_still_knows_the_order(
    architecture: str | dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = rotary_model(architecture, layers=[1, 1])
    assert model.embedding.position is None
    assert model.shape.positions == "rotary"
    assert not [name for name, _ in model.named_parameters() if "position" in name]
    tokens = random_tokens(model, 1, 12)
    swapped = tokens[:, [1, 0, *range(2, 12)]]

    def moved() -> float:
        return (model.logits(tokens)[0, -1] - model.logits(swapped)[0, -1]).abs().max().item()

    assert moved() > 1e-6
    if model.first_predicted(model.config):
        # Without a mask and without positions, a prefix is a bag of words.
        without_rotation(monkeypatch)
        assert moved() < 1e-10


@on_every_architecture
def test_it_matters_not_where_positions_begin(
    architecture: str | dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every position moved along by the same number: the logits stay."""
    model = rotary_model(architecture)
    tokens = random_tokens(model, 2, 12)
    before = model.logits(tokens)
    monkeypatch.setattr("deepsight.layers.rotated", lambda states, start, *rest: rotated(states, start + 100, *rest))
    assert_close(model.logits(tokens), before, **EXACT)


@on_every_architecture
@settings(max_examples=12)
@given(heads=st.integers(1, 3), head_width=st.integers(2, 5), data=st.data())
def test_cached_logits_equal_whole_ones(
    architecture: str | dict[str, Any], heads: int, head_width: int, data: st.DataObject
) -> None:
    model = rotary_model(architecture, heads=heads, width=heads * head_width, layers=[1, 2], context=9)
    first = model.first_predicted(model.config) + 1
    tokens = random_tokens(model, 2, 9)
    cuts = {*data.draw(st.sets(st.integers(first, 9))), 9}
    cache, start, whole = model.new_cache(), 0, model.logits(tokens)
    for end in sorted(cuts):
        assert_close(model.next_logits(tokens[:, start:end], cache), whole[:, end - first], **EXACT)
        start = end


@on_every_architecture
def test_cached_generation_equals_uncached_past_the_context(architecture: str | dict[str, Any]) -> None:
    model = rotary_model(architecture)
    prompt = random_tokens(model, 2, 5)
    cached = generate(model, prompt, 20, temperature=0.7, seed=2)
    assert torch.equal(cached, generate(model, prompt, 20, temperature=0.7, seed=2, use_cache=False))
    assert len(cached.unique()) > 5


@pytest.mark.parametrize("architecture", ["deepsight", "baseline", "canonical"])
def test_it_is_counted_without_a_position_table(architecture: str) -> None:
    learned, rotary = (
        run_config(
            run_data(Path("unread"), model__architecture=architecture, model__positions=positions, objective="none")
        )
        for positions in ("learned", "rotary")
    )
    cost, before = cost_of(rotary), cost_of(learned)
    model = build_model(rotary)
    assert cost.total == cost.without_positions == parameter_count(model) == before.without_positions
    assert before.total - cost.total == rotary.model.context * rotary.model.width
    # Turning is no matrix product.
    assert cost.inference_flops_per_token == before.inference_flops_per_token


@pytest.mark.parametrize("architecture", ["deepsight", "canonical"])
def test_a_run_trains_is_loaded_and_generates(architecture: str, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", documents=4)
    changes = {"model__architecture": architecture, "model__positions": "rotary", "training__steps": 2}
    config = run_of(text, objective={"name": "future_context", "n": 3, "window": "extend"}, **changes)
    result = Trainer(config, source_of(config), tmp_path / "run").run()
    assert result is not None
    assert math.isfinite(result["validation_loss"])
    trained = load_trained(tmp_path / "run")
    assert trained.model.embedding.position is None
    assert trained.model.config == config.model
    said = CliRunner().invoke(
        app, ["generate", str(tmp_path / "run"), "--prompt", "the model reads", "--tokens", "4", "--temperature", "0"]
    )
    assert said.exit_code == 0, said.output
    assert said.output.startswith("the model reads")


def test_deepsight_model_shows_it(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["model", "tiny", "--set", "model.positions=rotary", "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.output)
    assert found["model"]["positions"] == "rotary"
    assert found["total"] == found["without_positions"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {"positions": "rotary", "width": 8, "heads": 8},
            r"model.heads: rotary .* 8 heads of the width 8 .* at most 4",
        ),
        ({"positions": "rotary", "cross_heads": 16}, r"model.cross_heads: rotary .* 16 heads of the width 16"),
        ({"positions": "rotery"}, r"model.positions: .*'rotery'.*rotary"),
    ],
)
def test_mistakes_are_named(model: dict[str, Any], said: str) -> None:
    shape = {"architecture": "deepsight", "width": 16, "heads": 2, "layers": [1, 1], "context": 16}
    with pytest.raises(UserError, match=said):
        run_config({**merged(preset("tiny"), {"objective": "none"}), "model": shape | model})


def test_learned_positions_are_the_default_and_another_identity() -> None:
    plain, rotary = (run_config(run_data(Path("unread"), **change)) for change in ({}, {"model__positions": "rotary"}))
    assert plain.model.positions == "learned"
    assert plain.identity("text", {}) != rotary.identity("text", {})
    assert run_config(rotary.complete()) == rotary
    assert architectures.build("deepsight", config=plain.model, vocabulary=5).shape.positions == "learned"
    assert build_objectives(rotary, build_model(rotary, "meta").shape, "meta").lookahead == 0
