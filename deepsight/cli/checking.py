"""`deepsight objectives check`: runs the contract and prints a line for each part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from deepsight.errors import UserError
from deepsight.plug_ins import REGISTRIES, load_plugins
from deepsight.registry import Component
from deepsight.testing import PART_CHECKS, Outcome, measured_overhead, outcomes, part_outcome

CHECKED = ("objective", *PART_CHECKS)


def components_of_file(file: Path) -> list[Component]:
    """Load a plug-in file and return what it registers of the kinds that can be checked.

    Raises:
        UserError: it cannot be loaded, or registers nothing of these kinds.

    """
    registries = [registry for registry in REGISTRIES if registry.kind in CHECKED]
    before = {(registry.kind, name) for registry in registries for name in registry.names()}
    load_plugins([file])
    found = []
    for registry in registries:
        for name in registry.names():
            new = (registry.kind, name) not in before
            if new or (registry.is_loaded(name) and registry[name].file == str(file.resolve())):
                found.append(registry[name])
    if not found:
        raise UserError(f"{file}: this file registers nothing that can be checked: no {', '.join(CHECKED)}")
    return found


def checked(component: Component, parameters: Mapping[str, Any]) -> bool:
    """Check one component, print what was found, and return whether it keeps its contract.

    Raises:
        UserError: components of this kind have no contract that is checked here.

    """
    if component.kind not in CHECKED:
        raise UserError(f"{component.name!r} is of the kind {component.kind}; checked are {', '.join(CHECKED)}")
    torch.set_num_threads(1)
    console = Console(highlight=False)
    console.print(
        Text.assemble((component.name, "bold"), f" · {component.kind} · {component.location}"), soft_wrap=True
    )
    spec = {"name": component.name, **parameters}
    passed, said = True, set[str]()
    for outcome in _all_outcomes(component, spec):
        passed = passed and outcome.failure is None
        console.print(_line(outcome, said), soft_wrap=True)
    if component.kind == "objective" and passed:
        console.print(Text(f"  · {measured_overhead(spec)}"), soft_wrap=True)
    return passed


def _all_outcomes(component: Component, spec: dict[str, Any]) -> Iterator[Outcome]:
    return outcomes(spec) if component.kind == "objective" else iter([part_outcome(component.kind, spec)])


def _line(outcome: Outcome, said: set[str]) -> Text:
    if outcome.failure is None:
        note = f" ({outcome.note})" if outcome.note else ""
        return Text.assemble(("  ✓ ", "green"), outcome.title, (note, "dim"))
    failure = "as above" if outcome.failure in said else outcome.failure
    said.add(outcome.failure)
    return Text.assemble(("  ✗ ", "bold red"), f"{outcome.title}: {failure}")
