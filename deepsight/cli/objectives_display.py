"""How components are printed: all of them in tables, one of them in whole, and both as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import typer
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deepsight.describing import Parameter, docstring_of, origin_of, parameters_of
from deepsight.errors import UserError
from deepsight.registry import Component, Registry

WIDE = 130
"""Columns from which formula, parameters and source stand side by side."""

PRESET = "tiny"


def print_overview(registries: Iterable[Registry[Any]]) -> None:
    """Print a table for each kind; what cannot be imported is said in its row."""
    console = Console(highlight=False)
    registries = list(registries)
    longest = max((len(name) for registry in registries for name in registry.names()), default=0)
    for registry in registries:
        console.print(_table(registry, longest, console.width >= WIDE))
        console.print()


def print_component(component: Component) -> None:
    """Print everything that is known of one component."""
    console = Console(highlight=False)
    console.print(Text.assemble((component.name, "bold"), f" · {component.kind}"))
    console.print()
    for paragraph in _paragraphs(docstring_of(component).text):
        console.print(paragraph)
    facts = Table.grid(padding=(0, 3), pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for fact, value in _facts(component).items():
        facts.add_row(fact, Text(value))
    console.print(facts)
    parameters = parameters_of(component)
    if parameters:
        console.print()
        console.print(_parameter_table(parameters))


def overview_as_data(registries: Iterable[Registry[Any]]) -> list[dict[str, Any]]:
    """Return what is known of all components as plain data; what cannot be imported has an `error`."""
    found = []
    for registry in registries:
        for name in registry.names():
            try:
                found.append(as_data(registry[name]))
            except UserError as error:
                found.append({"kind": registry.kind, "name": name, "error": str(error)})
    return found


def as_data(component: Component, *, whole: bool = False) -> dict[str, Any]:
    """Return what is known of a component as plain data; with `whole`, also its docstring and its cost."""
    data = {
        "kind": component.kind,
        "name": component.name,
        "summary": component.summary,
        "formula": component.formula,
        "source": component.source,
        "from": origin_of(component) or "deepsight",
        "file": component.file,
        "line": component.line,
        "parameters": [asdict(parameter) for parameter in parameters_of(component)],
    }
    if component.kind == "objective":
        from deepsight.objective_specs import default_place

        data["attach"] = default_place(component.name)
    if whole:
        data["docstring"] = docstring_of(component).text
        if component.kind == "objective":
            data["cost"] = _cost(component.name)
    return data


def print_json(data: Any) -> None:
    """Print plain data as JSON."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _table(registry: Registry[Any], longest: int, wide: bool) -> Table:
    names = registry.names()
    title = f"{registry.kind if len(names) == 1 else registry.plural} ({len(names)})"
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD if wide else None,
        pad_edge=False,
        padding=(0, 2, 0, 0) if wide else (0, 2, 1, 0),
        show_header=wide,
        expand=True,
    )
    table.add_column("name", style="cyan", no_wrap=True, width=longest)
    if wide:
        table.add_column("formula", ratio=5, overflow="fold")
        table.add_column("parameters", ratio=4, overflow="fold")
        table.add_column("source", ratio=3, overflow="fold")
    else:
        table.add_column(ratio=1, overflow="fold")
    for name in names:
        try:
            cells = _cells(registry[name])
        except UserError as error:
            table.add_row(name, Text(str(error), style="red"))
            continue
        table.add_row(name, *(cells if wide else [Group(*(cell for cell in cells if cell.plain))]))
    return table


def _cells(component: Component) -> tuple[Text, Text, Text]:
    """Return formula, parameters and source; without a formula, what the component says of itself."""
    formula = Text(component.formula or component.summary)
    # A parameter stays on one line where it can.
    words = [_assigned(parameter).replace(" ", "\N{NO-BREAK SPACE}") for parameter in parameters_of(component)]
    parameters = Text(" ".join(words), style="green")
    origin = origin_of(component)
    source = "; ".join(part for part in (component.source, origin and f"from {origin}") if part)
    return formula, parameters, Text(source, style="dim")


def _assigned(parameter: Parameter) -> str:
    return f"{parameter.name}={'?' if parameter.default is None else parameter.default}"


def _paragraphs(docstring: str) -> Iterator[Padding]:
    """Yield a docstring's paragraphs without their line ends; the entries of a section such as Raises stand apart."""
    for block in re.split(r"\n\s*\n", docstring.strip() or "It has no docstring."):
        entries = re.split(r"\n(?=\s+\S+:)", block)
        lines = [" ".join(entry.split()) for entry in entries]
        yield Padding(Text("\n  ".join(lines)), (0, 0, 1, 0))


def _parameter_table(parameters: list[Parameter]) -> Padding:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 3, 0, 0))
    table.add_column("parameter", style="cyan", no_wrap=True)
    table.add_column("default", style="green", overflow="fold")
    table.add_column("type", overflow="fold", max_width=34)
    table.add_column("meaning", overflow="fold")
    for parameter in parameters:
        default = "must be given" if parameter.default is None else parameter.default
        table.add_row(*(Text(cell) for cell in (parameter.name, default, parameter.type, parameter.description)))
    return Padding(table, 0)


def _facts(component: Component) -> dict[str, str]:
    found = {
        "formula": component.formula or "not given",
        "source": component.source or "not given",
        "defined in": component.location,
    }
    if (origin := origin_of(component)) is not None and origin != component.file:
        found["comes from"] = origin
    if component.kind == "objective":
        found |= _facts_of_objective(component)
    return found


def _facts_of_objective(component: Component) -> dict[str, str]:
    from deepsight.describing import written
    from deepsight.objective_specs import default_place

    place = default_place(component.name)
    found = {"attaches to": "nothing: it reads no single state" if place is None else f"{written(place)}, by default"}
    cost = _cost(component.name)
    if "error" in cost:
        return found | {f"cost, {PRESET}": str(cost["error"])}
    more, flops = int(cost["training_only_parameters"]), int(cost["training_flops_per_token"])
    plain = int(cost["training_flops_per_token_without"])
    return found | {
        f"cost, {PRESET}": f"{more:,} parameters of training only; {flops - plain:+,} training FLOPs per token "
        f"({(flops / plain - 1) * 100:+.1f} %); nothing at inference"
    }


def _cost(name: str) -> dict[str, int | str]:
    """Return what an objective with its defaults adds to the preset, or why that cannot be said."""
    from deepsight.config import run_config
    from deepsight.counting import cost_of
    from deepsight.presets import preset

    plain = cost_of(run_config({**preset(PRESET), "objective": "none"}))
    try:
        own = cost_of(run_config({**preset(PRESET), "objective": name}))
    except UserError as error:
        return {"error": str(error)}
    return {
        "preset": PRESET,
        "training_only_parameters": own.training_only,
        "training_flops_per_token": own.training_flops_per_token,
        "training_flops_per_token_without": plain.training_flops_per_token,
    }
