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
from tests.models import ARCHITECTURES, lively, random_tokens, small_model

on_every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
END = 0


def model_of(architecture: str, positions: str = "learned") -> Architecture:
    if architecture == "encoder_decoder":
        positions = "learned"  # their embeddings are subtracted, so there must be some
    return lively(small_model(architecture, dtype=torch.float64, context=8, layers=[1, 1], positions=positions))


def build(model: Architecture, **parameters: Any) -> RegisterToken:
    built: Any = objectives.build({"name": "register_token", **parameters}, shape=model.shape)
    torch.nn.init.normal_(built.register_embedding.weight, generator=torch.Generator().manual_seed(1))
    return built.double()


def trace_of(model: Architecture, time: int, prompt: int = 0, end: int | None = None, seed: int = 0) -> Trace:
    text = random_tokens(model, 2, time + 1, seed)
    text[1, time // 2] = END
    # Documents end in answers, not inside a prompt.
    text[:, 1 : prompt + 1].clamp_(min=END + 1)
    targets = text[:, 1:].clone()
    targets[:, :prompt] = IGNORED
    return dataclasses.replace(model(text[:, :-1].clone(), targets), end_of_text=end)


@torch.no_grad()
def register_alone(model: Architecture, tokens: Tensor, register: Tensor, place: int) -> Tensor:
    """Return a register's last state after some tokens, in a sequence of its own in the usual causal order."""
    positions = torch.tensor([[*range(len(tokens)), place]])
    embedded = torch.cat([model.embedding.token(tokens), register[None]])[None]
    if model.embedding.position is not None:
        embedded = embedded + model.embedding.position(positions)
    triangle = torch.ones(len(tokens) + 1, len(tokens) + 1, dtype=torch.bool).tril()
    return model.states(embedded, [Arrangement(positions, triangle) for _ in model.new_cache()]).decoder_output[0, -1]


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
            state = register_alone(model, trace.tokens[row, : t + 1], objective.register_embedding.weight[0], t + d - 1)
            losses.append(-(model.unembedding @ state).log_softmax(0)[text[t + d]].item())
    torch.manual_seed(2)
    found = objective(trace)["loss"].item()
    assert found == pytest.approx(sum(losses) / max(1, len(losses)), rel=1e-10)


@on_every_architecture
def test_a_causal_order_written_out_is_the_usual_one(architecture: str) -> None:
    """So `register_alone` is the network itself: its last token, as a register, gives the network's last state."""
    for positions in ("learned", "rotary"):
        model = model_of(architecture, positions)
        tokens = random_tokens(model, 1, 6)
        last = register_alone(model, tokens[0, :5], model.embedding.token.weight[tokens[0, 5]], 5)
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
        model.register_states(trace.tokens, register, torch.full((2, 8), place))
    assert torch.equal(seen[0], seen[1])
    torch.testing.assert_close(seen[0], trace.decoder_output, rtol=1e-10, atol=1e-12)


@on_every_architecture
def test_next_token_logits_are_the_same_to_the_last_bit_with_and_without(architecture: str) -> None:
    model = model_of(architecture)
    trace = trace_of(model, 8)
    before = model.logits(trace.tokens)
    build(model)(trace)["loss"].backward()
    assert torch.equal(model.logits(trace.tokens), before)


@on_every_architecture
def test_a_register_sees_its_own_tokens_and_no_other_register(architecture: str) -> None:
    model = model_of(architecture)
    tokens = random_tokens(model, 1, 8)
    register = torch.ones(model.config.width, dtype=torch.float64)
    places = torch.arange(8)[None]
    before = model.register_states(tokens, register, places)
    for changed in range(8):
        other, moved = tokens.clone(), places.clone()
        other[0, changed] = (other[0, changed] + 1) % model.vocabulary
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


def test_an_architecture_whose_positions_meet_elsewhere_is_refused() -> None:
    model: Any = small_model("canonical", context=8)
    assert not model.takes_registers
    with pytest.raises(UserError, match=r"^this architecture takes no registers"):
        build(model)(trace_of(model, 8))
