"""Arms of equal budget, against the arithmetic by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.budget import BUDGETS, matched_steps
from deepsight.config import RunConfig
from deepsight.counting import cost_of
from deepsight.errors import UserError
from tests.runs import run_of

SHAPES = st.tuples(st.integers(1, 64), st.integers(4, 128), st.integers(1, 5000))
"""Batch size, context and steps."""


def run(batch: int, context: int, steps: int, **changes: Any) -> RunConfig:
    shape = {"training__batch_size": batch, "model__context": context, "training__steps": steps}
    return run_of(Path("unread"), **shape, **{"objective": "none", **changes})


def unmeasured(config: RunConfig) -> float:
    raise AssertionError("nothing but a budget of time needs a measurement")


@given(own=SHAPES, other=SHAPES)
def test_as_many_tokens(own: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    steps, _ = matched_steps(run(*own), run(*other), "tokens", unmeasured)
    wanted, one = other[0] * other[1] * other[2], own[0] * own[1]
    # No step more or less comes nearer, but there is at least one.
    assert steps >= 1
    assert steps == 1 or abs(Fraction(wanted, one) - steps) <= Fraction(1, 2)
    assert steps > 1 or Fraction(wanted, one) <= Fraction(3, 2)


@given(
    own=SHAPES,
    other=SHAPES,
    times=st.tuples(st.floats(1e-7, 1e-2), st.floats(1e-7, 1e-2)),
)
def test_as_many_seconds(own: tuple[int, int, int], other: tuple[int, int, int], times: tuple[float, float]) -> None:
    arm, target = run(*own, model__width=16), run(*other, model__width=18)
    measured = {16: times[0], 18: times[1]}
    steps, _ = matched_steps(arm, target, "time", lambda config: measured[config.model.width])
    wanted = times[1] * other[0] * other[1] * other[2] / (times[0] * own[0] * own[1])
    assert steps == pytest.approx(max(wanted, 1), abs=0.5 + 1e-6 * wanted)


def test_as_many_flops() -> None:
    """The arm's objective costs, so that it gets fewer steps than a plain run would."""
    arm = run(4, 16, 7, objective={"name": "multi_token", "n": 3})
    target = run(8, 24, 1000, model__layers=[2, 1])
    own, other = (cost_of(config).training_flops_per_token for config in (arm, target))
    steps, note = matched_steps(arm, target, "flops", unmeasured, "plain")
    wanted = other * 8 * 24 * 1000
    assert steps == round(Fraction(wanted, own * 4 * 16))
    found = steps * own * 4 * 16
    assert note == (
        f"{steps:,} steps, solved to match the {wanted:,} training FLOPs of 'plain': "
        f"{found:,} ({found / wanted - 1:+.2%})"
    )


def test_the_note_shows_the_residual() -> None:
    steps, note = matched_steps(run(3, 16, 99), run(4, 16, 12), "tokens", unmeasured)
    assert (steps, note) == (16, "16 steps, solved to match the 768 tokens of 'base': 768 (+0.00%)")
    steps, note = matched_steps(run(5, 16, 99), run(4, 16, 12), "tokens", unmeasured, "the first")
    assert (steps, note) == (10, "10 steps, solved to match the 768 tokens of 'the first': 800 (+4.17%)")
    steps, note = matched_steps(run(5, 16, 99), run(4, 16, 12), "time", lambda config: 0.0125)
    assert (steps, note) == (
        10,
        "10 steps, solved to match the 9.6 measured seconds of training steps of 'base': 10 (+4.17%)",
    )


def test_there_is_at_least_one_step() -> None:
    assert matched_steps(run(64, 128, 9), run(1, 4, 1), "tokens", unmeasured)[0] == 1


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("token", "match: unknown value 'token'; did you mean 'tokens'? known: flops, time, tokens"),
        ("parameters", "match: unknown value 'parameters'; known: flops, time, tokens"),
        (3, "match: unknown value 3; known: flops, time, tokens"),
    ],
)
def test_another_budget_is_one_sentence(by: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        matched_steps(run(1, 4, 1), run(1, 4, 1), by, unmeasured)
    assert str(caught.value) == said
    assert by not in BUDGETS


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(UserError, match=r"^match: a time per token was measured as"):
        matched_steps(run(1, 4, 1), run(1, 4, 1), "time", lambda config: seconds)
