"""Joint multi-token prediction: its value against a loop, what each item sees, and what it learns."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepsight.errors import UserError
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Shape, Trace
from objectives.joint_multi_token import JointMultiToken

VOCABULARY, WIDTH, HEADS, END = 7, 6, 2, 0


def build(**parameters: Any) -> JointMultiToken:
    torch.manual_seed(0)
    shape = Shape(vocabulary=VOCABULARY, width=WIDTH, context=12, heads=HEADS)
    built: Any = objectives.build({"name": "joint_multi_token", **parameters}, shape=shape)
    for weight in built.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 else 0.0, 0.5)
    return built.double()


def random_trace(
    batch: int, time: int, later: int | None = None, *, prompt: int = 0, end: int | None = None, seed: int = 0
) -> Trace:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(VOCABULARY, (batch, time + 1 + (later or 0)), generator=generator)
    # Documents end in answers, not inside a prompt.
    text[:, 1 : prompt + 1].clamp_(min=END + 1)
    targets = text[:, 1 : time + 1].clone()
    targets[:, :prompt] = IGNORED
    states = torch.randn(batch, time, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    matrix = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    after = None if later is None else text[:, time + 1 :]
    return Trace(text[:, :time], targets, states, states, states, matrix, later=after, end_of_text=end)


def normed(vector: Tensor, gain: Tensor) -> Tensor:
    centred = vector - vector.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * gain


def predictions(objective: JointMultiToken, state: Tensor, embeddings: list[Tensor]) -> list[Tensor]:
    """Return each item's vector for the output matrix, head by head and item by item."""
    attention, size = objective.attention, WIDTH // HEADS
    items = [normed(e + objective.gain * state, objective.item_norm.weight) for e in embeddings]
    projected = [(attention.query_key_value.weight @ item).reshape(3, HEADS, size) for item in items]
    found = []
    for i, (query, _, _) in enumerate(projected):
        heads = []
        for head in range(HEADS):
            scores = [
                (query[head] @ projected[j][1][head]).item() / math.sqrt(size) + attention.bias[head, i - j].item()
                for j in range(i + 1)
            ]
            weights = torch.tensor(scores, dtype=torch.float64).softmax(0)
            heads.append(sum(weights[j] * projected[j][2][head] for j in range(i + 1)))
        mixed = attention.output.weight @ torch.cat(heads)
        found.append(normed(mixed + state if i else mixed, objective.output_norm.weight))
    return found


def looped(objective: JointMultiToken, trace: Trace, n: int) -> tuple[float, float]:
    states, matrix = trace.decoder_output, trace.unembedding
    batch, time = trace.tokens.shape
    losses: list[list[float]] = [[] for _ in range(n + 1)]
    for row in range(batch):
        text = [*trace.tokens[row].tolist(), trace.targets[row, -1].item()]
        text += [] if trace.later is None else trace.later[row].tolist()
        counts = [False, *(trace.targets[row] != IGNORED).tolist(), *[True] * (len(text) - time - 1)]
        for t in range(time):
            known = [token for token in text[t : t + n + 1] if token != IGNORED]
            vectors = predictions(objective, states[row, t], [matrix[token] for token in known])
            for i, vector in enumerate(vectors):
                target = t + 1 + i
                if target >= len(text) or not counts[target] or trace.end_of_text in text[t + 1 : target]:
                    continue
                losses[i].append(-(matrix @ vector).log_softmax(0)[text[target]].item())
    means = [sum(part) / len(part) if part else 0.0 for part in losses]
    return means[0], sum(means[1:]) / n


@settings(max_examples=25)
@given(
    time=st.integers(1, 5),
    n=st.integers(1, 4),
    with_later=st.booleans(),
    prompt=st.integers(0, 5),
    end=st.sampled_from([None, END]),
    weights=st.sampled_from([(1.0, 1.0), (0.5, 2.0), (0.0, 1.0), (1.0, 0.0)]),
)
def test_the_loss_is_that_of_a_loop(
    time: int, n: int, with_later: bool, prompt: int, end: int | None, weights: tuple[float, float]
) -> None:
    objective = build(n=n, first=weights[0], rest=weights[1])
    trace = random_trace(2, time, n if with_later else None, prompt=prompt, end=end, seed=time)
    if prompt >= time and with_later:
        # A window that ends in a prompt: what comes after its last target is not known to be an answer.
        assert trace.later is not None
        trace.later[:] = IGNORED
    with torch.no_grad():
        said = objective(trace)
        first, rest = looped(objective, trace, n)
    assert said["loss"].item() == pytest.approx(weights[0] * first + weights[1] * rest, rel=1e-10, abs=1e-14)
    for name, expected, weight in zip(("first", "rest"), (first, rest), weights, strict=True):
        assert (name in said) == (weight != 0)
        if name in said:
            assert said[name].item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_an_item_sees_the_tokens_before_its_own_and_the_past_through_the_state_alone() -> None:
    objective, trace = build(n=3), random_trace(1, 8)
    chains = objective.chains(trace)
    assert chains[0, 2].tolist() == trace.tokens[0, 2:6].tolist()
    before = objective.predictions(trace, chains)
    for changed in range(1, 4):
        other = chains.clone()
        other[..., changed] = (other[..., changed] + 1) % VOCABULARY
        after = objective.predictions(trace, other)
        for item in range(4):
            assert torch.equal(before[0, 2, item], after[0, 2, item]) == (item < changed)
    for item in range(4):
        (gradient,) = torch.autograd.grad(before[0, 2, item].square().sum(), trace.decoder_output, retain_graph=True)
        assert gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == [2]


def test_an_item_after_an_unknown_token_does_not_count() -> None:
    """The window ends in a prompt, whose next token is not known, though what follows is."""
    trace = random_trace(1, 4, 3, prompt=4)
    (gradient,) = torch.autograd.grad(build(n=3)(trace)["loss"], trace.decoder_output)
    assert not gradient.any()


def test_the_first_item_has_no_skip() -> None:
    """With the attention's output map at zero it knows nothing, and the others have the state itself."""
    objective, trace = build(n=2), random_trace(1, 4)
    torch.nn.init.zeros_(objective.attention.output.weight)
    found = objective.predictions(trace, objective.chains(trace))
    assert not found[:, :, 0].any()
    expected = normed(trace.decoder_output[0, 1], objective.output_norm.weight)
    torch.testing.assert_close(found[0, 1, 1], expected, rtol=1e-10, atol=0)


def test_it_starts_with_the_published_gain_and_no_bias() -> None:
    shape = Shape(vocabulary=VOCABULARY, width=WIDTH, context=12, heads=HEADS)
    objective = JointMultiToken(shape, n=2)
    assert objective.gain.item() == pytest.approx(0.1)
    assert not objective.attention.bias.any()
    parameters = sum(weight.numel() for weight in objective.parameters())
    assert parameters == 4 * WIDTH**2 + 2 * WIDTH + 1 + HEADS * 3


def test_every_weight_learns() -> None:
    objective, trace = build(n=2), random_trace(2, 5)
    objective(trace)["loss"].backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in objective.parameters())


def test_without_any_term_it_is_refused() -> None:
    with pytest.raises(UserError, match=r"^first: with both weights zero, first and rest, there is no loss$"):
        build(first=0.0, rest=0.0)


def test_the_tokens_after_the_window_are_asked_for_and_used() -> None:
    objective = build(n=3)
    assert objective.lookahead == 3
    trace = random_trace(1, 4, 3)
    assert objective(trace)["rest"] != objective(dataclasses.replace(trace, later=None))["rest"]
