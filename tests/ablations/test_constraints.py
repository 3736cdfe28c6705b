"""Constraints: what they decide, against Python's own evaluation, and what they refuse to read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.constraints import Constraint, check_keys, constraints_of, refused
from deepsight.errors import UserError

RUN: dict[str, Any] = {
    "model": {"architecture": "deepsight", "width": 64, "layers": [2, 3], "cross_heads": None},
    "objective": [{"name": "future_context", "n": 11, "aggregator": {"name": "decay"}, "coefficient": 1.0}],
    "training": {"steps": 600},
}
PLAIN = {**RUN, "objective": [], "model": {**RUN["model"], "architecture": "baseline", "layers": 5}}


@pytest.mark.parametrize(
    ("text", "run", "held"),
    [
        ("model.layers.sum == 5", RUN, True),
        ("model.layers.sum == 5", PLAIN, True),
        ("model.layers.min < 2", RUN, False),
        ("model.layers == [2, 3]", RUN, True),
        ("model.layers.length == 2 and model.layers.max == 3", RUN, True),
        ("objective.n in [3, 11]", RUN, True),
        ("objective.n not in [3, 11]", RUN, False),
        ("objective.n in [3, 11]", PLAIN, False),
        ("objective.n > 3", PLAIN, False),
        ("not objective.n > 3", PLAIN, True),
        ("objective.aggregator == decay", RUN, True),
        ("objective.aggregator.name == 'decay'", RUN, True),
        ("objective.aggregator == none", PLAIN, True),
        ("objective.aggregator != none", RUN, True),
        ("objective == none or model.width == 64", PLAIN, True),
        ("objective == future_context or model.width == 1", RUN, True),
        ("model.cross_heads == none", RUN, True),
        ("4 <= model.width / 2 <= 32", RUN, True),
        ("model.width % 3 == 1 and model.width // 60 == 1 and model.width - 70 == -6", RUN, True),
        ("model.architecture in (baseline, deepsight)", RUN, True),
        ("training.steps * model.width + 1 == 38401", RUN, True),
    ],
)
def test_what_it_decides(text: str, run: dict[str, Any], held: bool) -> None:
    assert Constraint(text).holds(run) is held


@given(
    encoder=st.integers(1, 9), decoder=st.integers(1, 9), total=st.integers(1, 20),
    sign=st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    fold=st.sampled_from(["sum", "min", "max"]),
)  # fmt: skip
def test_it_agrees_with_python(encoder: int, decoder: int, total: int, sign: str, fold: str) -> None:
    run = {"model": {"layers": [encoder, decoder]}}
    said = Constraint(f"model.layers.{fold} {sign} {total}").holds(run)
    assert said is eval(f"{fold}([{encoder}, {decoder}]) {sign} {total}")


@pytest.mark.parametrize(
    "text",
    [
        "", "model.layers.sum ==", "model.layers.sum = 4", "1 == 1", "width == 4", "model.layers.sum() == 4",
        "__import__('os').system('ls')", "model.layers[0] == 1", "(lambda: 1)() == model.width",
        "[x for x in model.layers]",
        "model.width if model.width else 1", "model.width ** 9 == 1", "~model.width == 1", "f'{model.width}' == 1",
        "model.width == 1; model.width", "(model.width := 3) == 3", "model.width is none", "{1: model.width}",
        "not " * 5000 + "model.width == 1",
    ],
)  # fmt: skip
def test_what_is_no_comparison_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^where\.0: .* (cannot be read|names no key)"):
        constraints_of([text])


@pytest.mark.parametrize(
    "text",
    [
        "model.layers + 1 == 2", "model.width / 0 == 1", "model.architecture < 3", "model.architecture * 9 == 1",
        "model.width + 'a' * 999999999999 == 1", f"model.width * {'9' * 400} / 2 == 1",
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_said_with_its_values(text: str) -> None:
    with pytest.raises(UserError, match=r"cannot be decided where model\.\w+ is "):
        Constraint(text).holds(RUN)


def test_the_reason_has_the_values() -> None:
    constraints = constraints_of(["model.layers.sum == 4", "objective.n == none"])
    assert refused(constraints, RUN) == "not model.layers.sum == 4: model.layers.sum is 5"
    assert refused(constraints[1:], RUN) == "not objective.n == none: objective.n is 11"
    assert refused(constraints[1:], PLAIN) is None


def test_a_key_that_no_run_has_is_named_with_the_nearest() -> None:
    check_keys(constraints_of(["objective.n > 3"]), [PLAIN, RUN])
    with pytest.raises(
        UserError, match=r"^where\.1: no run of this study has a key 'objective\.nn'; did you mean 'obj"
    ):
        check_keys(constraints_of(["model.width > 3", "objective.nn == 3"]), [PLAIN, RUN])
