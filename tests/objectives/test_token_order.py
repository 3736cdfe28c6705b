"""Token order: the published targets and loss, written out densely; the window's edges; what is held."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight.trace import IGNORED, Shape, Trace
from objectives import upcoming
from objectives.token_order import TokenOrder
from tests.memory import peak_bytes
from tests.windows import following, random_states, random_text, window_of

VOCABULARY, WIDTH = 6, 4


def shape(**changes: int) -> Shape:
    return Shape(**{"vocabulary": VOCABULARY, "width": WIDTH, "context": 10, "heads": 2, **changes})


def scores(text: Tensor, trace: Trace, window: int) -> Tensor:
    """Return the dense scores (B, T, V): W - d where v comes next d = 1 … W positions later, else minus infinity."""
    found = torch.full((*trace.tokens.shape, VOCABULARY), -math.inf, dtype=torch.float64)
    for row in range(len(text)):
        for t in range(trace.tokens.shape[1]):
            for d, token in reversed(following(text, trace, row, t, 1, window)):
                found[row, t, token] = window - d
    return found


def naive(part: TokenOrder, trace: Trace, targets: Tensor) -> Tensor:
    """-(1/T) Σ_t softmax(y_t) · log softmax(U_top h_t); rows without a score are zero."""
    wanted = (targets / part.temperature).softmax(dim=-1).nan_to_num(0.0)
    said = (trace.decoder_output @ part.output.weight.T).log_softmax(dim=-1)
    return -(wanted * said).sum(dim=-1).mean()


windows = given(
    time=st.integers(1, 10),
    window=st.integers(1, 13),
    temperature=st.sampled_from([0.3, 1.0, 4.0]),
    extend=st.booleans(),
    seed=st.integers(0, 99),
    rows_at_once=st.sampled_from([1, 3, 8, 1024]),
)


@windows
def test_loss_and_gradients_are_the_dense_ones(
    time: int, window: int, temperature: float, extend: bool, seed: int, rows_at_once: int
) -> None:
    end = "extend" if extend else "trim"
    part = TokenOrder(shape(), window_size=window, temperature=temperature, window=end).double()
    text = random_text(2, time + 1 + part.lookahead, VOCABULARY, seed)
    states = random_states(2, time, WIDTH, seed=seed).requires_grad_()
    trace = window_of(text, time, states, torch.zeros(VOCABULARY, WIDTH))
    trace.targets[0, : time // 2] = IGNORED
    leaves = (states, part.output.weight)
    expected = naive(part, trace, scores(text, trace, window))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(upcoming, "ROWS_AT_ONCE", rows_at_once)
        found = part(trace)["loss"]
        assert_close(found, expected, rtol=1e-10, atol=1e-12)
        for mine, theirs in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True):
            assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def weights_at_zero(window: int, text: list[int]) -> Tensor:
    """Return the target that the first position of a text has: minus the gradient of the loss at equal logits, plus
    the uniform distribution."""
    part = TokenOrder(shape(), window_size=window).double()
    torch.nn.init.zeros_(part.output.weight)
    states = torch.zeros(1, len(text) - 1, WIDTH, dtype=torch.float64)
    states[0, 0, 0] = 1.0
    trace = window_of(torch.tensor([text]), len(text) - 1, states, torch.zeros(VOCABULARY, WIDTH))
    (gradient,) = torch.autograd.grad(part(trace)["loss"] * (len(text) - 1), part.output.weight)
    return 1 / VOCABULARY - gradient[:, 0]


def test_both_ends_of_the_window() -> None:
    """0 < d <= W: the next token counts, that W positions ahead counts, that W + 1 ahead does not."""
    text = [5, 1, 2, 3, 4]
    total = sum(math.exp(-d) for d in (1, 2, 3))
    expected = [0.0, *(math.exp(-d) / total for d in (1, 2, 3)), 0.0, 0.0]
    assert_close(weights_at_zero(3, text), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_only_the_next_occurrence_of_a_token_counts_and_the_present_one_does_not() -> None:
    text = [1, 2, 1, 2, 2]
    total = math.exp(-1) + math.exp(-2)
    expected = [0.0, math.exp(-2) / total, math.exp(-1) / total, 0.0, 0.0, 0.0]
    assert_close(weights_at_zero(10, text), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_a_window_of_one_is_next_token_prediction() -> None:
    part = TokenOrder(shape(), window_size=1).double()
    text, states = random_text(3, 9, VOCABULARY, 4), random_states(3, 8, WIDTH, seed=4)
    trace = window_of(text, 8, states, torch.zeros(VOCABULARY, WIDTH))
    logits = (states @ part.output.weight.T).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, trace.targets.flatten())
    assert_close(part(trace)["loss"], expected, rtol=1e-12, atol=0)


def test_the_window_is_the_context_unless_given() -> None:
    assert TokenOrder(shape(context=7)).window_size == 7
    assert TokenOrder(shape(context=7), window="extend").lookahead == 6


def test_positions_without_a_token_ahead_count_as_zero() -> None:
    part = TokenOrder(shape()).double()
    text, states = random_text(2, 9, VOCABULARY, 1), random_states(2, 8, WIDTH, seed=1)
    trace = window_of(text, 8, states, torch.zeros(VOCABULARY, WIDTH))
    trace.targets[1] = IGNORED
    alone = window_of(text[:1], 8, states[:1], torch.zeros(VOCABULARY, WIDTH))
    assert_close(part(trace)["loss"], part(alone)["loss"] / 2, rtol=1e-12, atol=0)
    trace.targets[:] = IGNORED
    loss = part(trace)["loss"]
    (gradient,) = torch.autograd.grad(loss, part.output.weight)
    assert loss.item() == 0.0
    assert not gradient.any()


def test_one_chunk_of_positions_meets_the_vocabulary_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upcoming, "ROWS_AT_ONCE", 32)
    vocabulary, time = 4000, 256
    part = TokenOrder(shape(vocabulary=vocabulary, context=time))
    text, states = random_text(1, time + 1, vocabulary, 0), torch.randn(1, time, WIDTH, requires_grad=True)
    trace = window_of(text, time, states, torch.zeros(vocabulary, WIDTH))

    def step() -> None:
        part(trace)["loss"].backward()

    step()
    # Forward and backward of a chunk hold a few matrices of its logits; the whole would be eight.
    assert peak_bytes(step) < 6 * 4 * 32 * vocabulary
