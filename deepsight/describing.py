"""What a registered component says of itself: its parameters with their types and meanings, and where it comes from."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import textwrap
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import annotated_types
from pydantic.fields import FieldInfo

from deepsight.errors import UserError, suggestion
from deepsight.plug_ins import REGISTRIES, loaded_plugins
from deepsight.registry import Component, Registry

BOUNDS = {annotated_types.Ge: ("ge", "≥"), annotated_types.Gt: ("gt", ">"), annotated_types.Le: ("le", "≤"),
          annotated_types.Lt: ("lt", "<")}  # fmt: skip
HOME = "deepsight"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component; `default` is as a configuration writes it, None where a value must be given."""

    name: str
    type: str
    default: str | None
    description: str


@dataclass(frozen=True)
class Docstring:
    """A docstring without its Args section, and that section as parameter → description."""

    text: str
    parameters: dict[str, str]


def registry_of(kind: str) -> Registry[Any]:
    """Return the registry of a kind.

    Raises:
        UserError: there is no such kind.

    """
    found = next((registry for registry in REGISTRIES if kind in (registry.kind, registry.plural)), None)
    if found is None:
        raise UserError(f"unknown kind {kind!r}{suggestion(kind, [registry.kind for registry in REGISTRIES])}")
    return found


def component_named(asked: str) -> Component:
    """Return the component that a person means by a name, or by kind/name.

    Raises:
        UserError: nothing is called so, or things of several kinds are.

    """
    kind, slash, name = asked.rpartition("/")
    if slash:
        return registry_of(kind)[name]
    found = [registry for registry in REGISTRIES if name in registry]
    if not found:
        near = difflib.get_close_matches(
            name, {n for registry in REGISTRIES for n in registry.names()}, n=1, cutoff=0.5
        )
        question = f"; did you mean {near[0]!r}?" if near else ";"
        raise UserError(f"no component is called {name!r}{question} `deepsight objectives` lists all")
    if len(found) > 1:
        choices = " or ".join(f"{registry.kind}/{name}" for registry in found)
        raise UserError(f"several components are called {name!r}: write {choices}")
    return found[0][name]


def origin_of(component: Component) -> str | None:
    """Return the package or plug-in file that a component comes from; None for DeepSight's own."""
    package = registry_of(component.kind).package_of(component.name)
    if package is not None:
        return None if package.partition(" ")[0] == HOME else package
    files = {str(path) for path in loaded_plugins()}
    return component.file if component.file in files else component.factory.__module__.partition(".")[0]


def docstring_of(component: Component) -> Docstring:
    """Return the docstring of a component's class or function, with the parameters that it or its constructor tells."""
    text, parameters = _without_parameters(component.factory.__doc__)
    constructor = component.factory.__init__.__doc__ if inspect.isclass(component.factory) else None
    return Docstring(text, _without_parameters(constructor)[1] | parameters)


def parameters_of(component: Component) -> list[Parameter]:
    """Return a component's parameters in the order of its signature."""
    described = docstring_of(component).parameters
    return [
        Parameter(name, _type_of_field(field), _default(field), described.get(name, ""))
        for name, field in component.parameters.model_fields.items()
    ]


def _without_parameters(docstring: str | None) -> tuple[str, dict[str, str]]:
    lines = inspect.cleandoc(docstring or "").splitlines()
    start = next((at for at, line in enumerate(lines) if line.strip() in ("Args:", "Parameters:")), None)
    if start is None:
        return "\n".join(lines), {}
    rest = lines[start + 1 :]
    length = next((at for at, line in enumerate(rest) if line and not line[0].isspace()), len(rest))
    text = "\n".join([*lines[:start], *rest[length:]])
    found: dict[str, str] = {}
    for line in textwrap.dedent("\n".join(rest[:length])).splitlines():
        if named := re.fullmatch(r"([\w, ]+?)(?: \(.*?\))?: *(.*)", line):
            names, description = named.group(1).split(", "), named.group(2)
            found |= dict.fromkeys(names, description)
        elif line.strip() and found:
            found |= dict.fromkeys(names, f"{found[names[-1]]} {line.strip()}".strip())
    return text, found


def _default(field: FieldInfo) -> str | None:
    return None if field.is_required() else written(field.get_default(call_default_factory=True))


def written(value: Any) -> str:
    """Return a value as a configuration would have it, on one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _type_of_field(field: FieldInfo) -> str:
    return type_name(field.annotation, field.metadata)


def type_name(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return a type in words: "int ≥ 1", "before | after", "an aggregator", "list of int"."""
    for item in metadata:
        # A reference to another component is validated by that one's registry.
        owner = getattr(getattr(item, "func", None), "__self__", None)
        if isinstance(owner, Registry):
            return f"{'an' if owner.kind[0] in 'aeiou' else 'a'} {owner.kind}"
    bounds = "".join(
        f" {sign} {getattr(item, key)}"
        for item in _flat(metadata)
        for kind, (key, sign) in BOUNDS.items()
        if isinstance(item, kind)
    )
    return f"{_plain_name(annotation)}{bounds}"


def _plain_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0], arguments[1:])
    if origin is Literal:
        return " | ".join(written(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_plain_name(argument) for argument in arguments))
    if origin is list:
        return f"list of {_plain_name(arguments[0])}"
    if annotation in (None, type(None)):
        return "null"
    return (
        getattr(annotation, "__name__", str(annotation)) if origin is None else str(annotation).replace("typing.", "")
    )


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        yield from _flat(item.metadata) if isinstance(item, FieldInfo) else (item,)
