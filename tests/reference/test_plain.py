"""The plain version of the published systems has the stored values of the original: benchmarks stand on it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from benchmarks.original import PUBLISHED, PlainBaseline, PlainDeepSight, cross_entropy, future_weights
from tests.reference.folder import (
    GRADIENT_TOLERANCE,
    LOGITS_TOLERANCE,
    LOSS_TOLERANCE,
    Case,
    Reference,
    case_name,
)
from tests.reference.plain import computed_case
from tests.reference.stored import CASES, FOLDER, needs_values


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.read(FOLDER)


def weights(system: str) -> dict[str, torch.Tensor]:
    tensors = load_file(FOLDER / f"{system}.safetensors")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("__")}


@pytest.fixture(scope="module")
def plain(reference: Reference) -> PlainDeepSight:
    model = PlainDeepSight(reference.config)
    model.load_state_dict(weights("deepsight"))
    return model


@needs_values
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_case(reference: Reference, plain: PlainDeepSight, case: Case) -> None:
    found = computed_case(plain, reference.data("deepsight"), case, reference.config["n"])
    for key in ("planning_loss", "cross_entropy", "total"):
        assert_close(found[key], case[key], **LOSS_TOLERANCE)
    assert found["grad_norms"].keys() >= case["grad_norms"].keys()
    for name, norm in case["grad_norms"].items():
        assert_close(found["grad_norms"][name], norm, **GRADIENT_TOLERANCE, msg=name)


@needs_values
def test_logits_and_loss(reference: Reference, plain: PlainDeepSight) -> None:
    baseline = PlainBaseline(reference.config)
    baseline.load_state_dict(weights("baseline"))
    with torch.no_grad():
        data = reference.data("deepsight")
        assert_close(plain(data["tokens"])[2], data["logits"], **LOGITS_TOLERANCE)
        data = reference.data("baseline")
        logits = baseline(data["tokens"])
        assert_close(logits, data["logits"], **LOGITS_TOLERANCE)
        assert_close(cross_entropy(logits, data["targets"]), data["cross_entropy"].squeeze(), **LOSS_TOLERANCE)


@needs_values
def test_a_training_loss_is_that_of_the_published_case(reference: Reference, plain: PlainDeepSight) -> None:
    data = reference.data("deepsight")
    (published,) = [case for case in CASES if {key: case[key] for key in PUBLISHED} == PUBLISHED]
    loss = plain.loss(data["tokens"], data["targets"], reference.config["n"])
    assert_close(loss.item(), published["total"], **LOSS_TOLERANCE)


def test_the_future_weights_are_those_of_the_formula() -> None:
    for aggregation, weight in (("AVG", lambda k: 1 / 5), ("DECAY", lambda k: 1 / k)):
        found = future_weights(9, 5, aggregation)
        for i in range(9):
            for j in range(9):
                expected = weight(j - i) if 1 <= j - i <= 5 else 0.0
                assert found[i, j].item() == pytest.approx(expected, rel=1e-6)
