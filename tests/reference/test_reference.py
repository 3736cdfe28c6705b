"""Every stored value of the original implementations: 108 cases of DeepSight, and the baseline."""

from __future__ import annotations

import pytest

from tests.reference.folder import (
    Case,
    Reference,
    case_name,
    check_baseline_loss,
    check_case,
    check_logits,
)
from tests.reference.stored import CASES, FOLDER, needs_values

pytestmark = needs_values


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.read(FOLDER)


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_case(reference: Reference, case: Case) -> None:
    check_case(reference, case)


@pytest.mark.parametrize("system", ["deepsight", "baseline"])
def test_logits(reference: Reference, system: str) -> None:
    check_logits(reference, system)


def test_baseline_loss(reference: Reference) -> None:
    check_baseline_loss(reference)
