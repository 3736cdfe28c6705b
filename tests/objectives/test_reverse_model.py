"""The reverse model: what its states have read, what its loss and the head's are, and who learns from which."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from deepsight.architecture import Architecture
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Trace
from deepsight.training.step import accumulate_gradients
from objectives.reverse_model import ReverseModel
from tests.models import EVERY_ARCHITECTURE, lively, random_tokens, random_trace, small_model
from tests.objectives.states import counts_ahead, flops
from tests.typechecking import unchecked

END = 0

on_every_architecture = pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)


def build(model: Architecture, **parameters: Any) -> tuple[Objectives, ReverseModel]:
    spec = {"coefficient": 1.0, **objectives.resolve({"name": "reverse_model", **parameters})}
    run = Objectives([spec], model.shape, seed=0)
    run.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64)))
    run.to(model.unembedding)
    part: Any = run.parts["reverse_model"]
    return run, part


def reverse_of(part: ReverseModel) -> Architecture:
    assert part.reverse is not None
    return part.reverse


def lively_pair(architecture: str = "deepsight", **parameters: Any) -> tuple[Architecture, ReverseModel]:
    context = 24 if architecture == "canonical" else 12  # its prefix is half the context
    model = lively(small_model(architecture, vocabulary=7, dtype=torch.float64, context=context))
    _, part = build(model, **parameters)
    lively(reverse_of(part), seed=1)
    return model, part


def prefix_of(model: Architecture) -> int:
    return model.first_predicted(model.config)


def state_after(network: Architecture, read: Tensor) -> Tensor:
    """Return the last state of a network that has read some tokens of one sequence."""
    return network(read[None], read[None]).decoder_output[0, -1]


def looped(part: ReverseModel, trace: Trace) -> tuple[float, float]:
    """Return both losses, from position to position; each state is made anew from the tokens that it may know."""
    reverse, said = reverse_of(part), part.head(trace.attached)
    batch, time = trace.tokens.shape
    errors, surprises = [], []
    for row in range(batch):
        for t in range(time - 2):
            target = state_after(reverse, trace.tokens[row, t + 2 :].flip(0))
            if counts_ahead(trace, row, t, 2):
                gaps = (said[row, t] - target).tolist()
                errors.append(sum(gap**2 for gap in gaps) / len(gaps))
            if (token := trace.targets[row, t]) != IGNORED:
                surprises.append(-float((reverse.unembedding @ target).log_softmax(0)[token]))
    return sum(errors) / max(1, len(errors)), sum(surprises) / max(1, len(surprises))


@on_every_architecture
@pytest.mark.parametrize("time", [1, 2, 3, 7])
@pytest.mark.parametrize(("prompt", "end"), [(0, None), (0, END), (3, None), (2, END)])
def test_both_losses_are_those_of_a_loop(architecture: str, time: int, prompt: int, end: int | None) -> None:
    model, part = lively_pair(architecture)
    trace = dataclasses.replace(random_trace(model, 3, prefix_of(model) + time), end_of_text=end)
    trace.targets[:, :prompt] = IGNORED
    with torch.no_grad():
        said, (summary, own) = part(trace), looped(part, trace)
    assert said["summary"].item() == pytest.approx(summary, rel=1e-10, abs=1e-14)
    assert said["reverse_next_token"].item() == pytest.approx(own, rel=1e-10, abs=1e-14)
    assert said["loss"].item() == pytest.approx(summary + own, rel=1e-10, abs=1e-14)


@on_every_architecture
@pytest.mark.parametrize("t", [0, 4, 8])
def test_a_target_knows_nothing_of_the_tokens_up_to_the_next(architecture: str, t: int) -> None:
    model, part = lively_pair(architecture)
    first = prefix_of(model)
    tokens = random_tokens(model, 2, first + 13)
    changed = tokens.clone()
    changed[:, : first + t + 2] = (changed[:, : first + t + 2] + 1) % model.vocabulary
    before, after = (part.sides(model(text[:, :-1], text[:, 1:]))[1] for text in (tokens, changed))
    torch.testing.assert_close(before[:, t:], after[:, t:], rtol=1e-12, atol=1e-12)
    # The target before that does know the changed token.
    assert t == 0 or not torch.allclose(before[:, t - 1], after[:, t - 1], rtol=1e-3)
    changed = tokens.clone()
    changed[:, first + t + 2] = (changed[:, first + t + 2] + 1) % model.vocabulary
    after = part.sides(model(changed[:, :-1], changed[:, 1:]))[1]
    assert not torch.allclose(before[:, t], after[:, t], rtol=1e-3)


def test_each_loss_teaches_its_own_network() -> None:
    model, part = lively_pair()
    said = part(random_trace(model))
    own = [*reverse_of(part).parameters()]
    others = [*model.parameters(), *part.head.parameters()]
    found = torch.autograd.grad(said["summary"], own, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in found)
    found = torch.autograd.grad(said["reverse_next_token"], others, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in found)
    assert all(gradient.any() for gradient in torch.autograd.grad(said["loss"], own))


def test_it_begins_with_weights_of_its_own_that_the_seed_fixes() -> None:
    model = small_model()
    first, again = (dict(reverse_of(build(model)[1]).named_parameters()) for _ in range(2))
    assert {name: weight.shape for name, weight in first.items()} == {n: w.shape for n, w in model.named_parameters()}
    matrices = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], weight) for name, weight in matrices.items())


def test_frozen_it_no_longer_learns() -> None:
    model = small_model(dropout=0.5)
    run, part = build(model, freeze_after=0.5)
    tokens = random_tokens(model, 2, 13)

    def gradients(share: float) -> list[Tensor | None]:
        run.zero_grad()
        run.progress(share)
        accumulate_gradients(model, run, tokens[:, :-1], tokens[:, 1:], seed=0, step=0)
        return [weight.grad for weight in reverse_of(part).parameters()]

    assert all(gradient is not None for gradient in gradients(0.49))
    assert all(gradient is None for gradient in gradients(0.5))
    trace = random_trace(model)
    assert set(part(trace)) == {"loss", "summary"}
    assert not part.read_backwards(trace).requires_grad
    # A target that no longer changes has no dropout either.
    run.train()
    assert torch.equal(part.sides(trace)[1], part.sides(trace)[1])
    run.progress(0.49)
    run.train()
    assert not torch.equal(part.sides(trace)[1], part.sides(trace)[1])


def test_by_default_it_learns_to_the_end() -> None:
    run, part = build(small_model())
    run.progress(1.0)
    assert not part.frozen


@pytest.mark.parametrize(("head", "extra"), [("block", 12 * 16**2 + 3 * 16), ("linear", 16**2)])
def test_extra_parameters_are_a_network_and_a_head(head: str, extra: int) -> None:
    model = small_model()
    run, _ = build(model, head=head)
    network = sum(weight.numel() for weight in model.parameters())
    assert sum(weight.numel() for weight in run.parameters()) == network + extra
    assert all(weight.requires_grad for weight in run.parameters())


def test_a_state_dict_brings_the_reverse_model_back() -> None:
    model, part = lively_pair()
    other = build(model)[1]
    other.load_state_dict(part.state_dict())
    trace = random_trace(model)
    assert torch.equal(part(trace)["loss"], other(trace)["loss"])


def test_beside_a_prefix_it_is_decoder_only_and_as_deep() -> None:
    reverse = reverse_of(build(small_model("canonical", layers=[2, 3], positions="rotary"))[1])
    assert reverse.config.architecture_name == "baseline"
    assert reverse.config.layers == 5
    assert reverse.config.positions == "rotary"
    assert reverse.first_predicted(reverse.config) == 0


def test_both_losses_fall_where_the_text_is_regular() -> None:
    torch.manual_seed(0)
    model = small_model(context=16, layers=[1, 1])
    run, _ = build(model, head="linear")
    optimizer = torch.optim.Adam([*model.parameters(), *run.parameters()], lr=1e-2)
    seen = []
    for step in range(80):
        tokens = (torch.randint(model.vocabulary, (8, 1)) + torch.arange(17) * 3) % model.vocabulary
        with nullcontext() if step == 0 else unchecked():
            seen.append(accumulate_gradients(model, run, tokens[:, :-1], tokens[:, 1:], seed=0, step=step))
        optimizer.step()
        optimizer.zero_grad()
    assert seen[-1]["reverse_model/reverse_next_token"] < 0.3 * seen[0]["reverse_model/reverse_next_token"]
    found = run.diagnostics(model(tokens[:, :-1], tokens[:, 1:]))
    assert found["reverse_model/loss_over_trivial"] < 0.5
    assert found["reverse_model/target_variance"] > 0.1


def test_it_costs_as_much_as_the_network_and_a_third_once_frozen() -> None:
    model = small_model()
    _, part = build(model)
    trace = random_trace(model)
    own = flops(lambda: model(trace.tokens, trace.targets).decoder_output.sum())
    assert flops(lambda: part.read_backwards(trace).sum()) == own
    part.frozen = True
    with FlopCounterMode(display=False) as counter:
        part.read_backwards(trace)
    assert 3 * counter.get_total_flops() == own
