"""A folder of another shape, written by the plain implementation, passes the same checks; wrong numbers do not."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from tests.reference.folder import (
    Case,
    Reference,
    case_name,
    check_baseline_loss,
    check_case,
    check_logits,
)
from tests.reference.plain import write_folder

SHAPES = {
    "more encoder": {"vocab_size": 37, "context": 17, "width": 30, "encoder_layers": 3, "decoder_layers": 1}
    | {"heads": 3, "cross_heads": 5, "n": 7, "batch": 2},
    # A horizon that leaves one position, and a context beyond one block of the aggregators.
    "longest horizon": {"vocab_size": 90, "context": 70, "width": 8, "encoder_layers": 1, "decoder_layers": 2}
    | {"heads": 4, "cross_heads": 1, "n": 69, "batch": 1},
}


@pytest.fixture(scope="module", params=SHAPES)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    write_folder(folder, SHAPES[request.param], seed=1)
    return Reference.read(folder)


def test_all_combinations_pass(other: Reference) -> None:
    assert len({case_name(case) for case in other.cases}) == 108
    for case in other.cases:
        check_case(other, case)


@pytest.mark.parametrize("system", ["deepsight", "baseline"])
def test_logits_pass(other: Reference, system: str) -> None:
    check_logits(other, system)


def test_baseline_loss_passes(other: Reference) -> None:
    check_baseline_loss(other)


@pytest.mark.parametrize("key", ["planning_loss", "cross_entropy", "total", "grad_norms"])
def test_a_wrong_number_is_found(other: Reference, key: str) -> None:
    wrong: Case = copy.deepcopy(other.cases[0])
    if key == "grad_norms":
        wrong[key]["encoder_transformer_blocks.0.ln1.weight"] *= 1 + 3e-4
    else:
        wrong[key] += 5e-5
    with pytest.raises(AssertionError, match="encoder_transformer_blocks.0.ln1" if key == "grad_norms" else key):
        check_case(other, wrong)


def test_a_wrong_horizon_is_found(other: Reference) -> None:
    wrong = replace(other, config={**other.config, "n": other.config["n"] - 1})
    with pytest.raises(AssertionError):
        check_case(wrong, other.cases[0])
