"""Bag of words: the published loss, written out densely; the window's edges; weights and bias from the corpus."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.trace import IGNORED, Shape, Trace
from objectives import upcoming
from objectives.bag_of_words import BagOfWords
from tests.memory import peak_bytes
from tests.models import small_model
from tests.windows import following, random_states, random_text, window_of

VOCABULARY, WIDTH = 6, 4


def shape(**changes: int) -> Shape:
    return Shape(**{"vocabulary": VOCABULARY, "width": WIDTH, "context": 10, "heads": 2, **changes})


def built(**parameters: Any) -> BagOfWords:
    part = BagOfWords(shape(), **parameters).double()
    with torch.no_grad():
        part.bias.copy_(random_states(VOCABULARY, seed=5))
        part.weights.copy_(random_states(VOCABULARY, seed=6).abs())
    return part


def naive(part: BagOfWords, text: Tensor, trace: Trace, hidden: Tensor) -> Tensor:
    """-Σ_v w(v) [a log σ(z) + (1 - a) log(1 - σ(z))] over the positions that have a window, then the mean."""
    losses = []
    for row in range(len(text)):
        for t in range(trace.tokens.shape[1]):
            bag = {token for _, token in following(text, trace, row, t, part.first, part.tau)}
            if not bag:
                continue
            share = torch.sigmoid(part.output.weight @ hidden[row, t] + part.bias)
            for v in range(VOCABULARY):
                losses.append(-part.weights[v] * torch.log(share[v] if v in bag else 1 - share[v]))
    return torch.stack(losses).sum() / len(losses) * VOCABULARY if losses else (0 * hidden).sum()


@given(
    time=st.integers(1, 10),
    first=st.integers(1, 4),
    length=st.integers(0, 10),
    head=st.sampled_from(["linear", "block"]),
    extend=st.booleans(),
    seed=st.integers(0, 99),
    rows_at_once=st.sampled_from([1, 3, 8, 1024]),
)
def test_loss_and_gradients_are_the_dense_ones(
    time: int,
    first: int,
    length: int,
    head: Literal["linear", "block"],
    extend: bool,
    seed: int,
    rows_at_once: int,
) -> None:
    part = built(first=first, tau=first + length, head=head, window="extend" if extend else "trim")
    text = random_text(2, time + 1 + part.lookahead, VOCABULARY, seed)
    states = random_states(2, time, WIDTH, seed=seed).requires_grad_()
    trace = window_of(text, time, states, torch.zeros(VOCABULARY, WIDTH))
    trace.targets[0, : time // 2] = IGNORED
    expected = naive(part, text, trace, part.head(states))
    leaves = (states, part.output.weight)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(upcoming, "ROWS_AT_ONCE", rows_at_once)
        found = part(trace)["loss"]
        assert_close(found, expected, rtol=1e-10, atol=1e-12)
        wanted = torch.autograd.grad(expected, leaves, allow_unused=True, materialize_grads=True)
        for mine, theirs in zip(torch.autograd.grad(found, leaves), wanted, strict=True):
            assert_close(mine, theirs, rtol=1e-8, atol=1e-11)


def bag_at_zero(text: list[int], **parameters: Any) -> list[int]:
    """Return the tokens that the loss pulls up at the first position of a text."""
    part = BagOfWords(shape(), **parameters).double()
    torch.nn.init.zeros_(part.output.weight)
    states = torch.zeros(1, len(text) - 1, WIDTH, dtype=torch.float64)
    states[0, 0, 0] = 1.0
    trace = window_of(torch.tensor([text]), len(text) - 1, states, torch.zeros(VOCABULARY, WIDTH))
    (gradient,) = torch.autograd.grad(part(trace)["loss"], part.output.weight)
    return (gradient[:, 0] < 0).nonzero().flatten().tolist()


def test_both_ends_of_the_window() -> None:
    """As published, x_{t+2} … x_{t+tau}: not the next token, and the one at tau."""
    text = [5, 1, 2, 3, 4]
    assert bag_at_zero(text, tau=3) == [2, 3]
    assert bag_at_zero(text, tau=3, first=1) == [1, 2, 3]
    assert bag_at_zero(text, tau=2) == [2]
    assert bag_at_zero(text) == [2, 3, 4]
    assert BagOfWords(shape()).tau == 12


def test_a_token_counts_once_and_also_where_it_came_before_the_window() -> None:
    assert bag_at_zero([1, 2, 2, 2, 3]) == [2, 3]
    part = built(weighting="none")
    text = torch.tensor([[1, 2, 2, 2, 3]])
    trace = window_of(text, 4, random_states(1, 4, WIDTH, seed=0), torch.zeros(VOCABULARY, WIDTH))
    assert_close(part(trace)["loss"], naive(part, text, trace, trace.decoder_output), rtol=1e-10, atol=0)


def prepared(counts: list[int], **parameters: Any) -> BagOfWords:
    part = BagOfWords(shape(), **parameters).double()
    part.prepare(Preparation(small_model(vocabulary=VOCABULARY), lambda: torch.tensor(counts)))
    return part


def test_weights_and_bias_come_from_the_corpus() -> None:
    counts = [9, 0, 4, 1, 1, 99]
    part, plain = prepared(counts, tau=5), prepared(counts, tau=5, weighting="none")
    frequencies = [(count + 1) / (sum(counts) + VOCABULARY) for count in counts]
    rarity = [-math.log(frequency) for frequency in frequencies]
    expected = [value / (sum(rarity) / VOCABULARY) for value in rarity]
    assert part.weights.tolist() == pytest.approx(expected, rel=1e-6)
    assert plain.weights.tolist() == [1.0] * VOCABULARY
    among_four = [1 - (1 - frequency) ** 4 for frequency in frequencies]
    assert torch.sigmoid(part.bias).tolist() == pytest.approx(among_four, rel=1e-6)


def test_a_corpus_of_one_token_leaves_everything_finite() -> None:
    part = prepared([10**9, 0, 0, 0, 0, 0], tau=100)
    assert torch.isfinite(part.bias).all()
    assert torch.isfinite(part.weights).all()


def test_nothing_counts_where_nothing_is_ahead() -> None:
    part = built()
    trace = window_of(random_text(2, 9, VOCABULARY, 1), 8, random_states(2, 8, WIDTH, seed=1), torch.zeros(6, WIDTH))
    trace.targets[:] = IGNORED
    loss = part(trace)["loss"]
    (gradient,) = torch.autograd.grad(loss, part.output.weight)
    assert loss.item() == 0.0
    assert not gradient.any()


def test_one_chunk_of_positions_meets_the_vocabulary_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upcoming, "ROWS_AT_ONCE", 32)
    vocabulary = 4000
    peaks = {}
    for time in (64, 256):
        part = BagOfWords(shape(vocabulary=vocabulary, context=time))
        text, states = random_text(1, time + 1, vocabulary, 0), torch.randn(1, time, WIDTH, requires_grad=True)
        trace = window_of(text, time, states, torch.zeros(vocabulary, WIDTH))

        def step() -> None:
            part(trace)["loss"].backward()  # noqa: B023 - called in this turn

        step()
        peaks[time] = peak_bytes(step)
    chunk = 4 * 32 * vocabulary
    assert peaks[256] < 6 * chunk
    assert peaks[256] < 1.05 * peaks[64]


def test_windows_that_cannot_be_are_named() -> None:
    with pytest.raises(UserError, match=r"^tau: the window begins at 2, so it cannot end at 1$"):
        BagOfWords(shape(), tau=1)
    with pytest.raises(UserError, match=r"^first: the window begins past a context of 10, at 11$"):
        BagOfWords(shape(), tau=20, first=11)
    assert BagOfWords(shape(), tau=20, first=11, window="extend").lookahead == 19


def test_the_head_is_a_matrix_or_a_block_before_it() -> None:
    linear, block = BagOfWords(shape()), BagOfWords(shape(), head="block")
    sizes = [sum(weight.numel() for weight in part.parameters()) for part in (linear, block)]
    assert sizes == [VOCABULARY * WIDTH + VOCABULARY, VOCABULARY * WIDTH + VOCABULARY + 12 * WIDTH**2 + 3 * WIDTH]
