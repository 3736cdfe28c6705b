"""Multi-token heads tied to states and tokens: their value against a loop, and that targets learn nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Trace
from objectives.latent_multi_token import LatentMultiToken
from objectives.multi_token import MultiToken
from tests.objectives.states import END, SHAPE, counts_ahead, filled, free_trace


def build(name: str = "latent_multi_token", **parameters: Any) -> Any:
    return filled(objectives.build({"name": name, **parameters}, shape=SHAPE))


def mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def looped(objective: LatentMultiToken, trace: Trace, ahead: int) -> tuple[float, float, float]:
    """Return the three parts of one head's loss, position by position."""
    said, matrix = objective.heads[ahead - 2](trace.attached), trace.unembedding
    batch, time = trace.tokens.shape
    tokens, latent, semantic = list[float](), list[float](), list[float]()
    for row in range(batch):
        for t in range(time):
            if not counts_ahead(trace, row, t, ahead):
                continue
            token, guess = int(trace.targets[row, t + ahead - 1]), said[row, t]
            tokens.append(-(matrix @ guess).log_softmax(0)[token].item())
            latent.append((guess - trace.decoder_output[row, t + ahead - 1]).square().mean().item())
            semantic.append((guess - matrix[token]).square().mean().item())
    return mean(tokens), mean(latent), mean(semantic)


@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 8),
    n=st.integers(1, 4),
    head=st.sampled_from(["linear", "block"]),
    prompt=st.integers(0, 3),
    end=st.sampled_from([None, END]),
)
def test_the_loss_is_that_of_a_loop(batch: int, time: int, n: int, head: str, prompt: int, end: int | None) -> None:
    objective = build(n=n, head=head, latent=0.3, semantic=0.7)
    trace = free_trace(batch, time, prompt=prompt, end=end, seed=time)
    with torch.no_grad():
        said = objective(trace)
        total = 0.0
        for ahead in range(2, n + 1):
            tokens, latent, semantic = looped(objective, trace, ahead)
            total += tokens + 0.3 * latent + 0.7 * semantic
            found = [said[f"ahead_{ahead}_{part}"].item() for part in ("tokens", "latent", "semantic")]
            assert found == pytest.approx([tokens, latent, semantic], rel=1e-10, abs=1e-14)
    assert said["loss"].item() == pytest.approx(total, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("head", ["linear", "block"])
def test_without_weights_it_is_multi_token_prediction(head: str) -> None:
    trace = free_trace(time=8)
    plain: MultiToken = build("multi_token", n=3, head=head)
    tied = build(n=3, head=head, latent=0.0, semantic=0.0)
    assert torch.equal(tied(trace)["loss"], plain(trace)["loss"])


def test_the_targets_learn_nothing() -> None:
    """The heads read another state here, so the last state and the matrix would learn as targets alone."""
    trace = dataclasses.replace(free_trace(), state=free_trace(seed=1).decoder_output)
    for part in ("latent", "semantic"):
        weights = {"latent": 0.0, "semantic": 0.0, part: 1.0}
        with_part, without = (build(n=3, **chosen)(trace)["loss"] for chosen in (weights, {**weights, part: 0.0}))
        leaves = (trace.attached, trace.decoder_output, trace.unembedding)
        state, last, matrix = torch.autograd.grad(with_part - without, leaves, allow_unused=True)
        assert state is not None
        assert state.any()
        assert last is None
        torch.testing.assert_close(matrix, torch.zeros_like(trace.unembedding), rtol=0, atol=1e-12)


def test_past_the_window_the_tokens_count_and_the_states_do_not() -> None:
    objective, trace = build(n=3, window="extend"), free_trace(time=4, prompt=3)
    trace = dataclasses.replace(trace, later=torch.tensor([[1, 2], [3, IGNORED]]))
    assert objective.lookahead == 2
    said = objective(trace)
    # Only the last target counts in the window: the second head foretells it from the last position but one.
    assert said["ahead_2_latent"] > 0
    cut = objective(dataclasses.replace(trace, later=None))
    assert torch.equal(said["ahead_2_latent"], cut["ahead_2_latent"])
    assert not torch.equal(said["ahead_2_semantic"], cut["ahead_2_semantic"])
