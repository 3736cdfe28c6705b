"""Sampling: the cache changes nothing, the filters filter, seeds repeat, and mistakes are named."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from deepsight.errors import UserError
from deepsight.generation import generate, keep_top_k, keep_top_p, next_tokens
from tests.models import ARCHITECTURES, lively, model_shapes, random_tokens, small_model
from tests.typechecking import unchecked

logit_rows = st.lists(st.floats(-20, 20, allow_nan=False, width=32), min_size=1, max_size=12).map(
    lambda row: torch.tensor([row], dtype=torch.float64)
)


def naive_greedy(model: Any, row: list[int], count: int) -> list[int]:
    """Read the last `context` tokens anew for each token, all logits at once, and take the largest."""
    row = list(row)
    with unchecked():
        for _ in range(count):
            window = torch.tensor([row[-model.config.context :]])
            row.append(int(model.logits(window)[0, -1].argmax()))
    return row[-count:]


@given(shape=model_shapes(), prompt=st.integers(1, 14), count=st.integers(1, 14), batch=st.integers(1, 2))
def test_greedy_with_and_without_cache_equals_the_naive_loop(
    shape: dict[str, Any], prompt: int, count: int, batch: int
) -> None:
    # In float64, so that no tie is broken by rounding; lengths go past the context of at most 9.
    model = lively(small_model(**shape, dtype=torch.float64)).eval()
    tokens = random_tokens(model, batch, prompt)
    naive = [naive_greedy(model, row, count) for row in tokens.tolist()]
    assert generate(model, tokens, count, temperature=0).tolist() == naive
    assert generate(model, tokens, count, temperature=0, use_cache=False).tolist() == naive


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_token_is_read_once_until_the_context_is_full(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(architecture, context=8)
    read = []
    original = model.next_logits

    def recorded(tokens: torch.Tensor, *rest: Any) -> torch.Tensor:
        read.append(tokens.shape[1])
        return original(tokens, *rest)

    monkeypatch.setattr(model, "next_logits", recorded)
    generate(model, [1, 2, 3], 9)
    assert read == [3, 1, 1, 1, 1, 1, 8, 8, 8]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sampling_is_the_same_with_and_without_cache(architecture: str) -> None:
    model = lively(small_model(architecture, dtype=torch.float64))
    settings: dict[str, Any] = {"temperature": 0.8, "top_k": 9, "top_p": 0.9, "seed": 3}
    cached = generate(model, [1, 2, 3], 30, **settings)
    assert torch.equal(cached, generate(model, [1, 2, 3], 30, use_cache=False, **settings))
    assert len(cached.unique()) > 5  # it samples, and does not stand still


def test_a_row_depends_on_neither_other_rows_nor_the_count() -> None:
    model = lively(small_model(dtype=torch.float64))
    prompts = random_tokens(model, 3, 4)
    together = generate(model, prompts, 20, seed=5)
    assert torch.equal(generate(model, prompts[:2], 20, seed=5), together[:2])
    assert torch.equal(generate(model, prompts, 8, seed=5), together[:, :8])
    assert torch.equal(generate(model, prompts[0].tolist(), 20, seed=5), together[:1])


def test_rows_and_seeds_draw_different_numbers() -> None:
    model = small_model()
    same_prompt = torch.ones(2, 3, dtype=torch.int64)
    rows = generate(model, same_prompt, 30, seed=1)
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows, generate(model, same_prompt, 30, seed=2))


def test_the_global_generator_is_left_alone() -> None:
    model = small_model()
    before = torch.get_rng_state()
    first = generate(model, [1], 5)
    torch.manual_seed(99)
    assert torch.equal(generate(model, [1], 5), first)
    torch.set_rng_state(before)
    generate(model, [1], 5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_comes_back(training: bool) -> None:
    model = lively(small_model(dropout=0.5, dtype=torch.float64)).train(training)
    added = generate(model, [1, 2], 20, temperature=0)
    assert model.training is training
    assert added[0].tolist() == naive_greedy(model.eval(), [1, 2], 20)
    assert not added.is_inference()
    with pytest.raises(UserError):
        generate(model.train(training), [1, 2], 0)
    assert model.training is training


@given(logits=logit_rows, k=st.integers(1, 15))
def test_top_k_keeps_what_fewer_than_k_others_exceed(logits: torch.Tensor, k: int) -> None:
    row = logits[0].tolist()
    kept = [value if sum(other > value for other in row) < k else -math.inf for value in row]
    assert keep_top_k(logits, k)[0].tolist() == kept


@given(logits=logit_rows, p=st.floats(0.01, 0.99))
def test_top_p_keeps_the_shortest_likeliest_list_that_holds_p(logits: torch.Tensor, p: float) -> None:
    row = logits[0].tolist()
    weights = [math.exp(value - max(row)) for value in row]
    kept, held = [-math.inf] * len(row), 0.0
    for place in sorted(range(len(row)), key=lambda i: -row[i]):
        if held >= p:
            break
        held += weights[place] / sum(weights)
        if abs(held - p) < 1e-9:  # too close for two ways of adding up to agree
            return
        kept[place] = row[place]
    assert keep_top_p(logits, p)[0].tolist() == kept


def test_all_of_the_probability_keeps_every_token() -> None:
    logits = torch.tensor([[0.0, -40.0, -80.0, 3.0]], dtype=torch.float64)
    assert torch.equal(keep_top_p(logits, 1.0), logits)


def test_filters_treat_rows_apart() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    gone = -torch.inf
    assert keep_top_k(logits, 1).tolist() == [[3.0, gone, gone], [gone, gone, 3.0]]
    assert keep_top_p(logits, 0.7).tolist() == [[3.0, 2.0, gone], [gone, 2.0, 3.0]]


@given(logits=logit_rows, draw=st.floats(0, 1, exclude_max=True), temperature=st.floats(0.1, 4))
def test_the_draw_picks_the_token_whose_share_it_falls_into(
    logits: torch.Tensor, draw: float, temperature: float
) -> None:
    row = logits[0].tolist()
    weights = [math.exp((value - max(row)) / temperature) for value in row]
    edges = [sum(weights[: i + 1]) / sum(weights) for i in range(len(row))]
    if any(abs(edge - draw) < 1e-12 for edge in edges):
        return
    expected = next(i for i, edge in enumerate(edges) if edge > draw)
    chosen = next_tokens(logits, torch.tensor([draw], dtype=torch.float64), temperature)
    assert chosen.tolist() == [expected]


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_extreme_draws_never_pick_an_impossible_token(draw: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    assert next_tokens(logits, torch.tensor([draw], dtype=torch.float64)).item() in (1, 3)


@pytest.mark.parametrize("temperature", [1e-300, 1e-6])
def test_a_tiny_temperature_takes_the_likeliest(temperature: float) -> None:
    logits = torch.tensor([[50.0, 80.0, 79.0]])
    draws = torch.tensor([0.999], dtype=torch.float64)
    assert next_tokens(logits, draws, temperature).tolist() == [1]


def test_frequencies_follow_the_filtered_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0]).expand(20_000, 5)
    draws = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chosen = next_tokens(logits, draws, temperature=2.0, top_k=3)
    weights = torch.tensor([0.0, math.exp(0.5), math.exp(1.0), math.exp(1.5), 0.0])
    shares = torch.bincount(chosen, minlength=5) / len(chosen)
    assert_close(shares, weights / weights.sum(), atol=0.015, rtol=0)  # four standard deviations
    assert shares[0] == 0
    assert shares[4] == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt_tokens": []}, "the prompt is empty; give at least one token"),
        ({"prompt_tokens": torch.zeros(2, 0, dtype=torch.int64)}, "the prompt is empty"),
        ({"prompt_tokens": [3, 31]}, "the token id 31 is not in the vocabulary; known: 0 to 30"),
        ({"prompt_tokens": [-1]}, "the token id -1 is not in the vocabulary"),
        ({"count": 0}, "at least 1, not 0"),
        ({"temperature": -0.1}, "the temperature must be 0 or above, not -0.1"),
        ({"temperature": math.nan}, "the temperature must be 0 or above"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, not 0.0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, not 1.1"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"prompt_tokens": [1, 2], "count": 3, **changes}
    with pytest.raises(UserError, match=said):
        generate(small_model(), **arguments)


def test_token_ids_that_are_no_whole_numbers_are_named() -> None:
    unchecked = inspect.unwrap(generate)  # as it runs outside of tests, where annotations are not enforced
    with pytest.raises(UserError, match="token ids are whole numbers, not float32"):
        unchecked(small_model(), torch.tensor([1.5]), 3)


def test_a_diverged_model_is_named() -> None:
    model = small_model()
    with torch.no_grad():
        model.unembedding[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        generate(model, [1, 2], 3)
