"""Belief state: its value against a loop over all pairs, what each encoder sees, and what is drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Shape, Trace
from objectives.belief_state import BeliefState
from tests.models import random_trace as trace_of_model
from tests.models import small_model

VOCABULARY, WIDTH, END = 6, 4, 0


def build(**parameters: Any) -> BeliefState:
    torch.manual_seed(0)
    shape = Shape(vocabulary=VOCABULARY, width=WIDTH, context=12, heads=2, layers=2)
    built: Any = objectives.build({"name": "belief_state", **parameters}, shape=shape)
    for weight in built.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 else 0.0, 0.5)
    return built.double()


def random_trace(batch: int, time: int, *, prompt: int = 0, end: int | None = None, seed: int = 0) -> Trace:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(VOCABULARY, (batch, time + 1), generator=generator)
    targets = text[:, 1:].clone()
    targets[:, :prompt] = IGNORED
    states = torch.randn(batch, time, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    matrix = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    return Trace(text[:, :-1], targets, states, states, states, matrix, end_of_text=end)


def suffix_state(objective: BeliefState, embeddings: list[Tensor]) -> Tensor:
    """Return G of one suffix alone: read backwards after the start vector."""
    hidden = torch.stack([objective.suffixes.start.weight[0], *reversed(embeddings)])[None]
    for block in objective.suffixes.blocks:
        hidden = block(hidden)
    last: Tensor = objective.suffixes.norm(hidden)[0, -1]
    return last


def looped(objective: BeliefState, trace: Trace) -> tuple[float, float]:
    """Return the two terms over all pairs: prefix x_1 … x_t, suffix x_s … x_T, counted from 1."""
    matrix, time = trace.unembedding, trace.tokens.shape[1]
    following, previous = [], []
    for row in range(trace.tokens.shape[0]):
        tokens = dict(enumerate(trace.tokens[row].tolist(), start=1))
        counts = {1: False, **{t + 2: target != IGNORED for t, target in enumerate(trace.targets[row].tolist())}}
        tokens[time + 1] = int(trace.targets[row, -1])
        for t in range(1, time + 1):
            for s in range(t + 1, time + 2):
                if trace.end_of_text in [tokens[i] for i in range(t + 1, s - 1)]:
                    continue
                backward = suffix_state(objective, [matrix[tokens[i]] for i in range(s, time + 1)])
                hidden = torch.cat([trace.decoder_output[row, t - 1], backward])
                for position, part in enumerate(objective.head.maps):
                    hidden = part.weight @ (F.gelu(hidden) if position else hidden)
                logits = (matrix @ hidden[:WIDTH], matrix @ hidden[WIDTH:])
                if counts[t + 1]:
                    following.append(-logits[0].log_softmax(0)[tokens[t + 1]].item())
                if counts[s - 1]:
                    previous.append(-logits[1].log_softmax(0)[tokens[s - 1]].item())

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    return mean(following), mean(previous)


@settings(max_examples=25)
@given(
    batch=st.integers(1, 2),
    time=st.integers(1, 6),
    prompt=st.integers(0, 6),
    end=st.sampled_from([None, END]),
    head=st.sampled_from([{}, {"head_layers": 2}, {"head_width": 3, "head_layers": 4}]),
)
def test_over_all_pairs_it_is_the_loss_of_a_loop(
    batch: int, time: int, prompt: int, end: int | None, head: dict[str, int]
) -> None:
    objective = build(pairs=None, **head)
    trace = random_trace(batch, time, prompt=prompt, end=end, seed=time)
    with torch.no_grad():
        said = objective(trace)
        following, previous = looped(objective, trace)
    assert said["next"].item() == pytest.approx(following, rel=1e-10, abs=1e-14)
    assert said["previous"].item() == pytest.approx(previous, rel=1e-10, abs=1e-14)
    assert said["loss"].item() == pytest.approx(following + previous, rel=1e-10, abs=1e-14)


def test_more_pairs_than_there_are_means_all() -> None:
    trace = random_trace(2, 5)
    assert torch.equal(build(pairs=15)(trace)["loss"], build(pairs=None)(trace)["loss"])


def test_pairs_are_drawn_evenly_without_repetition_from_torchs_generator() -> None:
    objective = build(pairs=4)
    torch.manual_seed(1)
    draws = [tuple(zip(*(part.tolist() for part in objective.drawn_pairs(4, torch.device("cpu"))))) for _ in range(500)]  # noqa: B905
    assert all(len(set(draw)) == 4 for draw in draws)
    counts = {(t, r): sum((t, r) in draw for draw in draws) for t in range(4) for r in range(t, 4)}
    assert sum(counts.values()) == 2000
    assert all(140 < count < 260 for count in counts.values())  # 200 expected, 11 the standard deviation
    torch.manual_seed(1)
    again = tuple(zip(*(part.tolist() for part in objective.drawn_pairs(4, torch.device("cpu")))))  # noqa: B905
    assert again == draws[0]


def test_one_pair_of_a_window_of_one_is_the_empty_suffix() -> None:
    objective, trace = build(pairs=1), random_trace(1, 1)
    empty = suffix_state(objective, [])
    following, _ = objective.head(torch.cat([trace.decoder_output[0, 0], empty])[None, None])
    expected = F.cross_entropy(trace.unembedding @ following[0, 0], trace.targets[0, 0])
    assert objective(trace)["next"].item() == pytest.approx(expected.item(), rel=1e-10)
    assert objective(trace)["previous"] == 0


def test_a_suffix_state_has_seen_the_suffix_alone() -> None:
    objective, embeddings = build(), torch.randn(1, 6, WIDTH, dtype=torch.float64, requires_grad=True)
    states = objective.suffixes(embeddings)
    assert states.shape == embeddings.shape
    for row in range(6):
        (gradient,) = torch.autograd.grad(states[0, row].sum(), embeddings, retain_graph=True, allow_unused=True)
        assert gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == list(range(row + 1, 6))


def test_the_gradient_reaches_the_attached_state_and_both_encoders() -> None:
    model = small_model("deepsight", dtype=torch.float64)
    spec = {"coefficient": 1.0, **objectives.resolve({"name": "belief_state", "pairs": 8}), "attach": "encoder"}
    part = Objectives([spec], model.shape, seed=0).double()
    part.losses(trace_of_model(model), 0, 0)["belief_state"]["loss"].backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in part.parameters())
    assert all(weight.grad is not None for weight in model.encoder.parameters())
    assert all(weight.grad is None for weight in model.decoder.parameters())


def test_without_a_choice_the_second_encoder_is_as_deep_as_the_network() -> None:
    assert len(build().suffixes.blocks) == 2
    assert len(build(layers=3).suffixes.blocks) == 3


@pytest.mark.parametrize(("maps", "inner", "layers"), [(3, 5, 1), (2, 7, 2)])
def test_the_parameters_are_as_many_as_documented(maps: int, inner: int, layers: int) -> None:
    objective = build(layers=layers, head_width=inner, head_layers=maps)
    expected = layers * (12 * WIDTH**2 + 2 * WIDTH) + 2 * WIDTH + 4 * WIDTH * inner + (maps - 2) * inner**2
    assert sum(weight.numel() for weight in objective.parameters()) == expected


def test_a_document_that_ends_inside_the_gap_takes_the_pair_out() -> None:
    trace = random_trace(1, 5, end=END)
    tokens = torch.tensor([[1, 2, END, 3, 4]])
    trace = dataclasses.replace(trace, tokens=tokens, targets=torch.tensor([[2, END, 3, 4, 5]]))
    (gradient,) = torch.autograd.grad(build(pairs=None)(trace)["next"], trace.decoder_output)
    assert gradient.abs().sum(dim=2).bool().all()
    others = dataclasses.replace(trace, end_of_text=None)
    assert build(pairs=None)(others)["next"] != build(pairs=None)(trace)["next"]
