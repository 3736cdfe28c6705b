"""`deepsight doctor`: what this machine has, what a run would use, and whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from deepsight.doctor.finding import Finding


def doctor(
    test: Annotated[bool, typer.Option("--test/--no-test", help="Also work for some seconds.")] = True,
) -> None:
    """Say what this machine has, what a run would use of it and why, and test that for some seconds.

    Exits with code 1 where something does not work.
    """
    from rich.console import Console

    from deepsight.doctor.choices import choices
    from deepsight.doctor.inventory import machine, versions
    from deepsight.doctor.self_test import self_test

    console = Console()
    parts = {"This machine": machine, "Versions": versions, "A run uses": choices}
    if test:
        parts["Self-test"] = self_test
    found = [finding for title, look in parts.items() for finding in _shown(title, look(), console)]
    advice = [f"{finding.about}: {finding.advice}" for finding in found if finding.advice]
    if advice:
        console.print("\nAdvice", style="bold")
        for line in advice:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if any(finding.failed for finding in found):
        console.print("\nSomething does not work here.", style="red")
        raise typer.Exit(1)
    console.print("\nAll is well." if not advice else "\nIt works.", style="green")


def _shown(title: str, findings: Iterable[Finding], console: Console) -> list[Finding]:
    """Print findings as they come, and return them."""
    from rich.text import Text

    console.print(f"\n{title}" if title != "This machine" else title, style="bold")
    said = []
    for finding in findings:
        line = Text(f"  {finding.about}: ")
        line.append(finding.value, style="red" if finding.failed else "")
        if finding.why:
            line.append(f" ({finding.why})", style="dim")
        console.print(line, highlight=False, soft_wrap=True)
        said.append(finding)
    return said
