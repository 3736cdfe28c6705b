"""Next-latent prediction: its value against loops, what it teaches, and where each term counts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.errors import UserError
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Shape, Trace
from objectives.next_latent import NextLatent

VOCABULARY, WIDTH, END = 7, 4, 0


def build(**parameters: Any) -> NextLatent:
    torch.manual_seed(0)
    shape = Shape(vocabulary=VOCABULARY, width=WIDTH, context=12, heads=1)
    built: Any = objectives.build({"name": "next_latent", **parameters}, shape=shape)
    for weight in built.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 else 0.0, 0.5)
    return built.double()


def random_trace(batch: int, time: int, *, prompt: int = 0, end: int | None = None, seed: int = 0) -> Trace:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(VOCABULARY, (batch, time + 1), generator=generator)
    if end is not None:
        # Documents end in answers, not inside a prompt.
        text[:, 1 : prompt + 1].clamp_(min=END + 1)
    targets = text[:, 1:].clone()
    targets[:, :prompt] = IGNORED
    states = torch.randn(batch, time, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    matrix = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    return Trace(text[:, :-1], targets, states, states, states, matrix, end_of_text=end)


def moved(objective: NextLatent, state: Tensor, embedding: Tensor) -> Tensor:
    """Return the state after one more token, written out."""
    part = objective.dynamics
    both = torch.cat([embedding, state])
    centred = both - both.mean()
    normed = centred / (centred.square().mean() + 1e-5).sqrt() * part.norm.weight
    inside = part.middle.weight @ F.gelu(part.expand.weight @ normed)
    return state + part.output.weight @ F.gelu(inside)


def smooth_l1(prediction: Tensor, target: Tensor) -> float:
    gaps = [abs(gap) for gap in (prediction - target).tolist()]
    return sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps) / len(gaps)


def divergence(matrix: Tensor, prediction: Tensor, target: Tensor) -> float:
    p, q = ((matrix @ state).softmax(0).tolist() for state in (target, prediction))
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def looped(objective: NextLatent, trace: Trace, steps: int) -> tuple[float, float]:
    """Return the two terms, from position to position and step to step."""
    states, matrix = trace.decoder_output.detach(), trace.unembedding.detach()
    batch, time = trace.tokens.shape
    latent: list[list[float]] = [[] for _ in range(steps)]
    kl: list[list[float]] = [[] for _ in range(steps)]
    for row in range(batch):
        for t in range(time):
            state = states[row, t]
            for i in range(1, steps + 1):
                if t + i >= time:
                    break
                state = moved(objective, state, matrix[trace.tokens[row, t + i]])
                between = trace.tokens[row, t + 1 : t + i].tolist()
                if trace.end_of_text in between:
                    continue
                latent[i - 1].append(smooth_l1(state, states[row, t + i]))
                if trace.targets[row, t + i] != IGNORED and trace.tokens[row, t + i] != trace.end_of_text:
                    kl[i - 1].append(divergence(matrix, state, states[row, t + i]))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    return sum(map(mean, latent)) / steps, sum(map(mean, kl)) / steps


@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 7),
    steps=st.integers(1, 8),
    prompt=st.integers(0, 7),
    end=st.sampled_from([None, END]),
    weights=st.sampled_from([(1.0, 1.0), (0.5, 2.0), (1.0, 0.0), (0.0, 1.0)]),
)
def test_the_terms_are_those_of_a_loop(
    batch: int, time: int, steps: int, prompt: int, end: int | None, weights: tuple[float, float]
) -> None:
    objective = build(steps=steps, latent=weights[0], kl=weights[1])
    trace = random_trace(batch, time, prompt=prompt, end=end, seed=time)
    with torch.no_grad():
        said = objective(trace)
        latent, kl = looped(objective, trace, steps)
    assert said["loss"].item() == pytest.approx(weights[0] * latent + weights[1] * kl, rel=1e-10, abs=1e-14)
    for name, expected, weight in zip(("latent", "kl"), (latent, kl), weights, strict=True):
        assert (name in said) == (weight != 0)
        if name in said:
            assert said[name].item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_a_term_with_weight_zero_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objectives.next_latent.linear_divergence", None)
    assert set(build(kl=0.0)(random_trace(2, 5))) == {"loss", "latent"}


def test_without_any_term_it_is_refused() -> None:
    with pytest.raises(UserError, match=r"^latent: with both weights zero, latent and kl, there is no loss$"):
        build(latent=0.0, kl=0.0)


def test_a_rollout_of_step_i_has_a_row_for_each_state_that_it_foretells() -> None:
    """The KL term's targets stand one token later: ĥ_{t+i} and h_{t+i} both foretell x_{t+i+1}."""
    trace = random_trace(2, 6)
    shapes = [tuple(states.shape) for states in build(steps=3).rollout(trace)]
    assert shapes == [(2, 5, WIDTH), (2, 4, WIDTH), (2, 3, WIDTH)]
    # Only the last position's target counts, so only its state is compared: x_{T+1}, from ĥ_T.
    trace = random_trace(1, 6, prompt=5)
    objective = build(latent=0.0)
    loss = objective(trace)["loss"]
    (gradient,) = torch.autograd.grad(loss, trace.decoder_output)
    assert gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == [4]
    predicted = moved(objective, trace.decoder_output[0, 4], trace.unembedding[trace.tokens[0, 5]])
    expected = divergence(trace.unembedding, predicted, trace.decoder_output[0, 5])
    assert loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("weights", [{"kl": 0.0}, {"latent": 0.0}])
def test_the_states_that_are_reached_learn_nothing(weights: dict[str, float]) -> None:
    """With one step, the last state is a target alone; with d steps, every state but the last starts a rollout."""
    trace = random_trace(2, 6)
    (gradient,) = torch.autograd.grad(build(steps=2, **weights)(trace)["loss"], trace.decoder_output)
    taught = gradient.abs().sum(dim=(0, 2)) > 0
    assert taught.tolist() == [True] * 5 + [False]


def test_the_output_matrix_learns_as_embedding_alone() -> None:
    """Tokens that never come after the first position have no gradient in the matrix, in either term."""
    trace = random_trace(1, 6)
    tokens = torch.tensor([[1, 2, 3, 2, 3, 4]])
    trace = dataclasses.replace(trace, tokens=tokens, targets=torch.tensor([[2, 3, 2, 3, 4, 5]]))
    (gradient,) = torch.autograd.grad(build(steps=2)(trace)["loss"], trace.unembedding)
    assert gradient.abs().sum(dim=1).nonzero().flatten().tolist() == [2, 3, 4]


def test_prompts_count_in_the_latent_term_alone() -> None:
    trace, prompted = random_trace(2, 6), random_trace(2, 6, prompt=4)
    objective = build(steps=2)
    whole, part = objective(trace), objective(prompted)
    assert whole["latent"] == part["latent"]
    assert whole["kl"] != part["kl"]
    assert objective(random_trace(2, 6, prompt=6))["kl"] == 0


@pytest.mark.parametrize("inner", [None, 3])
def test_the_parameters_are_as_many_as_documented(inner: int | None) -> None:
    wide = inner or WIDTH
    parameters = sum(weight.numel() for weight in build(inner_width=inner).parameters())
    assert parameters == 3 * WIDTH * wide + wide**2 + 2 * WIDTH
