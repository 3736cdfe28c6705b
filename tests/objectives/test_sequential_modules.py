"""The chain of modules: its loss against a loop, what each depth is fed, its weight, and its size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight.errors import UserError
from deepsight.objective_specs import coefficient_of, resolved_objective
from deepsight.trace import IGNORED, Shape, Trace
from objectives.sequential_modules import SequentialModules
from tests.windows import following, random_states, random_text, window_of

VOCABULARY, WIDTH = 6, 4
SHAPE = Shape(VOCABULARY, WIDTH, 20, 2)


def normed(vector: Tensor, gain: Tensor) -> Tensor:
    centred = vector - vector.mean()
    return gain * centred / (centred.square().mean() + 1e-5).sqrt()


def naive(part: Any, text: Tensor, trace: Trace) -> list[Tensor]:
    """Return each depth's mean of -log softmax(U norm(h))[x], position by position."""
    time, states = trace.tokens.shape[1], trace.decoder_output
    means = []
    for k, module in enumerate(part.chain, start=1):
        joined = torch.zeros_like(states)
        for row in range(len(text)):
            for t in range(time):
                known = t + k < text.shape[1]
                embedding = trace.unembedding[text[row, t + k] if known else 0]
                halves = (
                    normed(states[row, t], module.state_norm.weight),
                    normed(embedding, module.embedding_norm.weight),
                )
                joined[row, t] = module.join.weight @ torch.cat(halves)
        states = module.block(joined)
        losses = []
        for row in range(len(text)):
            for t in range(time):
                logits = trace.unembedding @ normed(states[row, t], module.output_norm.weight)
                losses += [
                    logits.logsumexp(0) - logits[token] for _, token in following(text, trace, row, t, k + 1, k + 1)
                ]
        means.append(torch.stack(losses).mean() if losses else 0 * states.sum())
    return means


@given(depth=st.integers(1, 3), time=st.integers(1, 8), extend=st.booleans(), seed=st.integers(0, 99))
def test_loss_and_gradients_are_the_loops(depth: int, time: int, extend: bool, seed: int) -> None:
    part = SequentialModules(SHAPE, depth=depth, window="extend" if extend else "trim").double()
    text = random_text(2, time + 1 + part.lookahead, VOCABULARY, seed)
    states = random_states(2, time, WIDTH, seed=seed).requires_grad_()
    unembedding = random_states(VOCABULARY, WIDTH, seed=seed + 1).requires_grad_()
    trace = window_of(text, time, states, unembedding)
    # A prompt: no targets, but its tokens are fed.
    trace.targets[0, : time // 2] = IGNORED
    said, expected = part(trace), naive(part, text, trace)
    for k, value in enumerate(expected, start=1):
        assert_close(said[f"ahead_{k + 1}"], value, rtol=1e-10, atol=1e-12)
    mean = torch.stack(expected).mean()
    assert_close(said["loss"], mean, rtol=1e-10, atol=1e-12)
    leaves = (states, unembedding, part.chain[0].join.weight)  # type: ignore[union-attr]
    wanted = torch.autograd.grad(mean, leaves)
    for found, gradient in zip(torch.autograd.grad(said["loss"], leaves), wanted, strict=True):
        assert_close(found, gradient, rtol=1e-8, atol=1e-11)


def test_a_depth_sees_the_tokens_up_to_the_one_before_its_target() -> None:
    """From state t, depth 2 is told x_{t+1} and x_{t+2}, of which x_{t+2} at position t alone."""
    part = SequentialModules(SHAPE, depth=2).double()
    text = random_text(1, 9, VOCABULARY, 2)
    states = random_states(1, 8, WIDTH, seed=2)

    def loss_at(t: int, tokens: Tensor) -> float:
        trace = window_of(tokens, 8, states, random_states(VOCABULARY, WIDTH, seed=3))
        only = torch.full_like(trace.targets, IGNORED)
        only[0, t + 2] = 1  # the target of position t at depth 2, whatever the text says
        # No document ends here, and only the fed tokens change.
        changed = Trace(trace.tokens, only, states, states, states, trace.unembedding)
        return float(part(changed)["ahead_3"].detach())

    position, base = 2, loss_at(2, text)
    differs = []
    for place in range(9):
        changed = text.clone()
        changed[0, place] = (changed[0, place] + 1) % VOCABULARY
        if loss_at(position, changed) != base:
            differs.append(place)
    # Positions 0 … 2 are fed x₁ … x₄ (counted from 0): nothing later, and not x₀, which the states have seen.
    assert differs == [1, 2, 3, 4]


def test_the_published_weight_is_the_runs_coefficient_unless_it_says_otherwise() -> None:
    assert resolved_objective("sequential_modules")["coefficient"] == 0.3
    assert resolved_objective({"name": "sequential_modules", "coefficient": 0.1})["coefficient"] == 0.1
    falling = resolved_objective({"name": "sequential_modules", "coefficient": {"schedule": "linear_decay"}})
    assert coefficient_of(falling).at(0.5) == pytest.approx(0.15)
    assert resolved_objective("multi_token")["coefficient"] == 1.0


@pytest.mark.parametrize("depth", [1, 2])
def test_parameters_are_as_many_as_documented(depth: int) -> None:
    part = SequentialModules(SHAPE, depth=depth)
    assert sum(weight.numel() for weight in part.parameters()) == depth * (14 * WIDTH**2 + 5 * WIDTH)


def test_depths_without_a_target_are_named() -> None:
    with pytest.raises(UserError, match=r"^depth: the depth 4 needs a context longer than 4$"):
        SequentialModules(Shape(VOCABULARY, WIDTH, 4, 2), depth=4)
