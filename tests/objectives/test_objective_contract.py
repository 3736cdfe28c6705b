"""Every registered objective keeps the contract that `deepsight objectives check` runs, and says what it is."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from deepsight.plug_ins import architectures, objectives
from deepsight.testing import CHECKS, Check, systems_for
from tests.typechecking import unchecked


def name_of(check: Check) -> str:
    return check.run.__name__.removeprefix("check_")


WITH_SHAPES = {"loss", "gradients", "ignored_targets", "inference_untouched"}
"""Checks during which every shape is checked: the others repeat passes of theirs, at the same places."""


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", objectives.names())
def test_it_keeps_its_contract(name: str, check: Check) -> None:
    with nullcontext() if name_of(check) in WITH_SHAPES else unchecked():
        check.run({"name": name})


@pytest.mark.parametrize("name", objectives.names())
def test_it_is_checked_on_every_architecture(name: str) -> None:
    assert {system.architecture for system in systems_for(name)} == set(architectures.names())


def test_the_checks_with_shapes_are_known() -> None:
    assert {name_of(check) for check in CHECKS} > WITH_SHAPES
