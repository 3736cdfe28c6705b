"""Every registered objective keeps the contract that `deepsight objectives check` runs, and says what it is."""

from __future__ import annotations

import pytest

from deepsight.plug_ins import architectures, objectives
from deepsight.testing import CHECKS, Check, systems_for


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.run.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", objectives.names())
def test_it_keeps_its_contract(name: str, check: Check) -> None:
    check.run({"name": name})


@pytest.mark.parametrize("name", objectives.names())
def test_it_is_checked_on_every_architecture(name: str) -> None:
    assert {system.architecture for system in systems_for(name)} == set(architectures.names())
