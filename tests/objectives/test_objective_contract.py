"""Every registered objective keeps the contract that `deepsight objectives check` runs, and says what it is."""

from __future__ import annotations

import pytest

from deepsight.errors import UserError
from deepsight.plug_ins import architectures, objectives
from deepsight.testing import CHECKS, Check, Subject, System, systems_for
from deepsight.testing.systems import ESSENTIAL

REFUSED = {"register_token": {"canonical"}, "reverse_model": {"canonical"}}
"""What an objective cannot read; such a pair is refused in a sentence."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.run.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", objectives.names())
def test_it_keeps_its_contract(name: str, check: Check) -> None:
    check.run({"name": name})


@pytest.mark.parametrize("name", objectives.names())
def test_it_is_checked_on_every_architecture_but_those_that_it_refuses(name: str) -> None:
    checked = {system.architecture for system in systems_for(name)}
    assert checked >= set(ESSENTIAL)
    left_out = set(architectures.names()) - checked
    assert left_out == REFUSED.get(name, set())
    for architecture in left_out:
        with pytest.raises(UserError, match="architecture"):
            Subject(name, System(architecture)).said()
