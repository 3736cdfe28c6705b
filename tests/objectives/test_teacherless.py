"""Teacherless training: what is hidden, what is predicted, and that no prediction has seen any of its answer."""

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
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Trace
from objectives.teacherless import Teacherless
from tests.models import ARCHITECTURES, lively, random_tokens, small_model

on_every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def model_of(architecture: str = "baseline") -> Architecture:
    return lively(small_model(architecture, dtype=torch.float64))


def build(model: Architecture, **parameters: Any) -> Teacherless:
    built: Any = objectives.build({"name": "teacherless", **parameters}, shape=model.shape)
    return built


def trace_of(model: Architecture, text: Tensor, prompts: tuple[int, ...] = (), end: int | None = None) -> Trace:
    """Return a trace of rows of text, whose first target tokens belong to prompts of these lengths."""
    targets = text[:, 1:].clone()
    for row, prompt in enumerate(prompts):
        targets[row, : prompt - 1] = IGNORED
    return dataclasses.replace(model(text[:, :-1].clone(), targets), end_of_text=end)


def first_answer(prompts: tuple[int, ...], row: int, time: int, share: float) -> int:
    """Return the index in the text, of `time` + 1 tokens, of a row's first answer token."""
    return prompts[row] if prompts and prompts[row] > 1 else time + 1 - max(1, round(share * time))


@on_every_architecture
@settings(max_examples=12)
@given(
    prompts=st.sampled_from([(), (3, 7), (1, 9), (2, 12)]),
    share=st.sampled_from([0.05, 0.3, 0.5, 1.0]),
    dummy=st.sampled_from([None, 4]),
    end=st.sampled_from([None, 9]),
)
def test_the_loss_is_that_of_a_loop(
    architecture: str, prompts: tuple[int, ...], share: float, dummy: int | None, end: int | None
) -> None:
    model, time = model_of(architecture), 12
    text = random_tokens(model, 2, time + 1)
    text[0, 10] = 9
    trace = trace_of(model, text, prompts, end)
    losses = []
    for row in range(2):
        start = first_answer(prompts, row, time, share)
        stands_in = dummy if dummy is not None else end if end is not None else 0
        shown = torch.tensor([[token if i < start else stands_in for i, token in enumerate(text[row].tolist()[:-1])]])
        logits = model.logits(shown)[0]
        in_text = not (prompts and prompts[row] > 1)
        for i in range(start, time + 1):
            if in_text and end is not None and end in text[row, start:i]:
                break
            losses.append(-logits[i - 1].log_softmax(0)[text[row, i]].item())
    expected = sum(losses) / len(losses)
    found = build(model, share=share, dummy=dummy)(trace)["loss"].item()
    assert found == pytest.approx(expected, rel=1e-10)


@on_every_architecture
def test_no_prediction_of_an_answer_sees_the_answer(architecture: str) -> None:
    """Changing a token of the answer changes no prediction, though the teacher-forced ones change."""
    model = model_of(architecture)
    objective, text = build(model), random_tokens(model, 2, 13)
    predictions = []

    def listening(tokens: Tensor, targets: Tensor) -> Trace:
        predictions.append(model(tokens, targets).decoder_output)
        return model(tokens, targets)

    for changed in range(5, 13):
        other = text.clone()
        other[0, changed] = (other[0, changed] + 1) % model.vocabulary
        for tokens in (text, other):
            objective(dataclasses.replace(trace_of(model, tokens, (5, 5)), network=listening))
        before, after = predictions[-2:]
        assert torch.equal(before, after)
        assert changed == 12 or not torch.equal(model.logits(text[:, :-1]), model.logits(other[:, :-1]))


def test_a_prompt_is_seen() -> None:
    model = model_of()
    objective, text = build(model), random_tokens(model, 1, 13)
    other = text.clone()
    other[0, 4] = (other[0, 4] + 1) % model.vocabulary
    first, second = (objective(trace_of(model, tokens, (5,)))["loss"] for tokens in (text, other))
    assert first != second


def test_an_answer_of_one_token_is_ordinary_prediction() -> None:
    """Nothing of it stands in the input, so the loss is the teacher-forced one."""
    model = model_of()
    text = random_tokens(model, 2, 13)
    trace = trace_of(model, text, (12, 12))
    expected = torch.nn.functional.cross_entropy(model.logits(text[:, :-1])[:, -1], text[:, -1])
    assert build(model)(trace)["loss"].item() == pytest.approx(expected.item(), rel=1e-12)


def test_several_answers_in_a_window_are_all_hidden() -> None:
    model = model_of()
    targets = torch.tensor([[IGNORED, IGNORED, 1, 2, IGNORED, IGNORED, 3, 4]])
    hidden = build(model).hidden(targets)
    assert hidden.tolist() == [[False, False, False, True, True, False, False, True]]


def test_the_network_learns_and_the_first_trace_does_not() -> None:
    model = model_of()
    trace = trace_of(model, random_tokens(model, 2, 13))
    build(model)(trace)["loss"].backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert trace.decoder_output.grad_fn is not None
    assert torch.autograd.grad(build(model)(trace)["loss"], trace.decoder_output, allow_unused=True) == (None,)


def test_a_dummy_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^dummy: the last token of this vocabulary is 30, not 31$"):
        build(model_of(), dummy=31)
