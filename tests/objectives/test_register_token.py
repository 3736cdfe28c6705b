"""Register tokens: their loss against one sequence a register, and that real tokens never see them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.layers import Arrangement
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Trace
from objectives.register_token import RegisterToken
from tests.models import EVERY_ARCHITECTURE, lively, random_tokens, small_model

on_every_architecture = pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
END = 0


def model_of(architecture: str, positions: str = "learned") -> Architecture:
    if architecture == "encoder_decoder":
        positions = "learned"  # their embeddings are subtracted, so there must be some
    context = 16 if architecture == "canonical" else 8  # its prefix is half the context
    return lively(small_model(architecture, dtype=torch.float64, context=context, layers=[1, 1], positions=positions))


def prefix_of(model: Architecture) -> int:
    return model.first_predicted(model.config)


def build(model: Architecture, **parameters: Any) -> RegisterToken:
    built: Any = objectives.build({"name": "register_token", **parameters}, shape=model.shape)
    torch.nn.init.normal_(built.register_embedding.weight, generator=torch.Generator().manual_seed(1))
    return built.double()


def trace_of(model: Architecture, time: int, prompt: int = 0, end: int | None = None, seed: int = 0) -> Trace:
    first = prefix_of(model)
    text = random_tokens(model, 2, first + time + 1, seed)
    text[1, first + time // 2] = END
    # Documents end in answers, not inside a prompt.
    text[:, first + 1 : first + prompt + 1].clamp_(min=END + 1)
    targets = text[:, 1:].clone()
    targets[:, : first + prompt] = IGNORED
    return dataclasses.replace(model(text[:, :-1].clone(), targets), end_of_text=end)


def window(trace: Trace) -> Tensor:
    """Return all tokens that the network has read."""
    return trace.tokens if trace.prefix is None else torch.cat([trace.prefix, trace.tokens], dim=1)


@torch.no_grad()
def register_alone(model: Architecture, tokens: Tensor, register: Tensor, place: int) -> Tensor:
    """Return a register's last state after some tokens, in a sequence of its own in the usual causal order.

    `tokens` begin with the window's first; `place` is counted from the first position that is predicted.
    """
    first = prefix_of(model)
    positions = torch.tensor([[*range(len(tokens)), first + place]])
    embedded = torch.cat([model.embedding.token(tokens), register[None]])[None]
    if model.embedding.position is not None:
        embedded = embedded + model.embedding.position(positions)
    covered = len(tokens) + 1 - first
    arrangement = Arrangement(positions[:, first:] - first, torch.ones(covered, covered, dtype=torch.bool).tril())
    return model.states(embedded, model.arranged(arrangement)).decoder_output[0, -1]


@on_every_architecture
@settings(max_examples=6)
@given(
    time=st.integers(1, 6),
    furthest=st.integers(1, 5),
    prompt=st.integers(0, 5),
    end=st.sampled_from([None, END]),
    positions=st.sampled_from(["learned", "rotary"]),
)
def test_the_loss_is_that_of_a_sequence_for_each_register(
    architecture: str, time: int, furthest: int, prompt: int, end: int | None, positions: str
) -> None:
    model = model_of(architecture, positions)
    objective, trace = build(model, furthest=furthest), trace_of(model, time, prompt, end, seed=time)
    torch.manual_seed(2)
    distances = objective.distances(trace.tokens)[:, 0].tolist()
    losses = []
    for row, d in enumerate(distances):
        text = [*trace.tokens[row].tolist(), trace.targets[row, -1].item()]
        for t in range(time):
            if t + d > time or trace.targets[row, t + d - 1] == IGNORED or end in text[t + 1 : t + d]:
                continue
            read = window(trace)[row, : prefix_of(model) + t + 1]
            state = register_alone(model, read, objective.register_embedding.weight[0], t + d - 1)
            losses.append(-(model.unembedding @ state).log_softmax(0)[text[t + d]].item())
    torch.manual_seed(2)
    found = objective(trace)["loss"].item()
    assert found == pytest.approx(sum(losses) / max(1, len(losses)), rel=1e-10)


@on_every_architecture
def test_a_causal_order_written_out_is_the_usual_one(architecture: str) -> None:
    """So `register_alone` is the network itself: its last token, as a register, gives the network's last state."""
    for positions in ("learned", "rotary"):
        model = model_of(architecture, positions)
        tokens = random_tokens(model, 1, prefix_of(model) + 6)
        last = register_alone(model, tokens[0, :-1], model.embedding.token.weight[tokens[0, -1]], 5)
        torch.testing.assert_close(last, model(tokens, tokens).decoder_output[0, -1], rtol=1e-10, atol=1e-12)


@on_every_architecture
def test_real_tokens_never_see_registers(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their states are the same to the last bit whatever the registers are, and those of the network."""
    model = model_of(architecture)
    trace, seen = trace_of(model, 8), []
    states = type(model).states

    def watched(self: Architecture, *arguments: Any) -> Any:
        found = states(self, *arguments)
        seen.append(found.decoder_output[:, :8])
        return found

    monkeypatch.setattr(type(model), "states", watched)
    for seed, place in ((0, 0), (1, 7)):
        register = torch.randn(model.config.width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        model.register_states(window(trace), register, torch.full((2, 8), place))
    assert torch.equal(seen[0], seen[1])
    torch.testing.assert_close(seen[0], trace.decoder_output, rtol=1e-10, atol=1e-12)


@on_every_architecture
def test_next_token_logits_are_the_same_to_the_last_bit_with_and_without(architecture: str) -> None:
    model = model_of(architecture)
    trace = trace_of(model, 8)
    before = model.logits(window(trace))
    build(model)(trace)["loss"].backward()
    assert torch.equal(model.logits(window(trace)), before)


@on_every_architecture
def test_a_register_sees_its_own_tokens_and_no_other_register(architecture: str) -> None:
    model = model_of(architecture)
    first = prefix_of(model)
    tokens = random_tokens(model, 1, first + 8)
    register = torch.ones(model.config.width, dtype=torch.float64)
    places = torch.arange(8)[None]
    before = model.register_states(tokens, register, places)
    for changed in range(8):
        other, moved = tokens.clone(), places.clone()
        other[0, first + changed] = (other[0, first + changed] + 1) % model.vocabulary
        moved[0, changed] = (moved[0, changed] + 1) % 8
        same = (model.register_states(other, register, places) == before).all(dim=-1)[0].tolist()
        assert same == [position < changed for position in range(8)]
        same = (model.register_states(tokens, register, moved) == before).all(dim=-1)[0].tolist()
        assert same == [position != changed for position in range(8)]


def test_every_distance_comes_up_and_goes_with_the_sequence() -> None:
    model = model_of("baseline")
    objective, tokens = build(model, furthest=3), random_tokens(model, 40, 8)
    torch.manual_seed(0)
    draws = torch.stack([objective.distances(tokens) for _ in range(50)])
    assert all(set(row.flatten().tolist()) == {1, 2, 3} for row in (draws[0], draws[:, 0]))
    torch.manual_seed(0)
    assert torch.equal(objective.distances(tokens.flip(0)), draws[0].flip(0))


def test_every_register_after_a_prefix_sees_all_of_it() -> None:
    model = model_of("canonical", "rotary")
    tokens, places = random_tokens(model, 1, 16), torch.arange(8)[None]
    register = torch.ones(model.config.width, dtype=torch.float64)
    before = model.register_states(tokens, register, places)
    for changed in range(8):
        other = tokens.clone()
        other[0, changed] = (other[0, changed] + 1) % model.vocabulary
        assert (model.register_states(other, register, places) != before).any(dim=-1).all()


def test_an_architecture_whose_positions_meet_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("baseline")
    monkeypatch.setattr(type(model), "takes_registers", False)
    with pytest.raises(UserError, match=r"^this architecture takes no registers"):
        build(model)(trace_of(model, 8))
