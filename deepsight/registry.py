"""One generic registry; every place where a plug-in may step in is an instance of it.

A component is a class or a function registered under a name. Its typed signature is its configuration: parameters are
validated, unknown ones are refused with the nearest valid name. Components arrive by the decorator (in a file that was
imported or given with ``--plugin``) or by an entry point, which is imported only when its name is asked for.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, PydanticUserError, create_model

from deepsight.errors import UserError, suggestion
from deepsight.validation import Strict, validated

Built = TypeVar("Built")
Factory = TypeVar("Factory", bound=Callable[..., Any])
Spec = dict[str, Any]
"""A component as written in a configuration: ``{"name": "decay", …parameters}``."""


@dataclass(frozen=True)
class Component:
    """What a registry knows of one name: the class or function, its parameters, and where it comes from."""

    kind: str
    name: str
    factory: Callable[..., Any]
    parameters: type[BaseModel]
    summary: str
    formula: str
    source: str
    file: str
    line: int

    @property
    def location(self) -> str:
        """File and line of the definition."""
        return f"{self.file}:{self.line}"


class Registry(Generic[Built]):
    """The components of one kind, by name.

    Args:
        kind: what one component is called in messages, such as "aggregator".
        plural: the last part of the entry-point group, ``deepsight.<plural>``.
        supplied: names that a signature must have and the caller of `build` fills in; no parameters of the component.
        offered: the same, for names that a signature may have.
        reserved: keys beside `name` that mean something else where a component is written.

    """

    def __init__(
        self,
        kind: str,
        plural: str,
        *,
        supplied: tuple[str, ...] = (),
        offered: tuple[str, ...] = (),
        reserved: tuple[str, ...] = (),
    ) -> None:
        self.kind = kind
        self.plural = plural
        self.group = f"deepsight.{plural}"
        self.supplied = supplied
        self.offered = offered
        self.reserved = ("name", *reserved)
        self._components: dict[str, Component] = {}

    def register(self, name: str, *, formula: str = "", source: str = "") -> Callable[[Factory], Factory]:
        """Register a class or function under `name`; `formula` in one line, `source` as author, year, equation.

        Raises:
            UserError: the name is taken, is no plain word, or a parameter of the signature has no usable type.

        """

        def add(factory: Factory) -> Factory:
            self._add(name, factory, formula, source)
            return factory

        return add

    def names(self) -> list[str]:
        """Return every known name, sorted; entry points are named without being imported."""
        return sorted({*self._components, *self._entry_points()})

    def __iter__(self) -> Iterator[Component]:
        return (self[name] for name in self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._components or name in self._entry_points()

    def __getitem__(self, name: str) -> Component:
        """Return a component.

        Raises:
            UserError: the name is unknown; the message gives the nearest and all known names.

        """
        if name not in self._components:
            if name not in self._entry_points():
                raise UserError(f"unknown {self.kind} {name!r}{suggestion(name, self.names())}")
            factory = self._imported(name)
            if name not in self._components:
                self._add(name, factory, "", "")
        return self._components[name]

    def is_loaded(self, name: str) -> bool:
        """Say whether a name is registered here, and not only offered by an entry point that nobody asked for."""
        return name in self._components

    def package_of(self, name: str) -> str | None:
        """Return the installed package, with its version, that offers a name as an entry point."""
        found = self._entry_points().get(name)
        package = found[0].dist if found else None
        return f"{package.name} {package.version}" if package else None

    def resolve(self, spec: object) -> Spec:
        """Return the complete form of a component as written: its name and every parameter, defaults filled in.

        Args:
            spec: a name, or a mapping with ``name`` and some parameters.

        Raises:
            UserError: unknown name or parameter, or a value of the wrong type; `path` names the parameter.

        """
        if isinstance(spec, str):
            spec = {"name": spec}
        if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
            raise UserError(f"a name or a mapping with a name is needed for a {self.kind}, not {spec!r}")
        component = self[spec["name"]]
        given = {key: value for key, value in spec.items() if key != "name"}
        parameters = validated(component.parameters, given)
        return {"name": component.name, **parameters.model_dump(mode="json")}

    def build(self, spec: object, **supplied: Any) -> Built:
        """Return the component of `spec`: a class is called, a function gets its parameters bound.

        `supplied` is what the signature has beside the parameters, such as a horizon; by name, in any order. What is
        offered reaches only a component that takes it.
        """
        resolved = self.resolve(spec)
        component = self[resolved["name"]]
        parameters = {key: value for key, value in resolved.items() if key != "name"}
        taken = _signature(component.factory)
        supplied = {key: value for key, value in supplied.items() if key not in self.offered or key in taken}
        if inspect.isclass(component.factory):
            return typing.cast(Built, component.factory(**supplied, **parameters))
        return typing.cast(Built, functools.partial(component.factory, **supplied, **parameters))

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        return _entry_points_of(self.group)

    def _imported(self, name: str) -> Callable[..., Any]:
        entry_point, *others = self._entry_points()[name]
        if others:
            values = ", ".join(sorted(found.value for found in (entry_point, *others)))
            raise UserError(f"several installed packages offer the {self.kind} {name!r}: {values}; keep one of them")
        try:
            factory: Callable[..., Any] = entry_point.load()
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's package may fail in any way
            reason = f"cannot be imported: {type(error).__name__}: {error}"
            raise UserError(f"the {self.kind} {name!r} ({entry_point.value}) {reason}") from None
        return factory

    def _add(self, name: str, factory: Callable[..., Any], formula: str, source: str) -> None:
        file, line = _place(factory)
        where = f"{file}:{line}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise UserError(f"{where}: {name!r} cannot name a {self.kind}: use letters, digits and _")
        taken = self._components.get(name)
        if taken is not None:
            if taken.factory is factory:
                return
            raise UserError(f"{where}: the {self.kind} {name!r} is already registered by {taken.location}")
        for entry_point in self._entry_points().get(name, []):
            # The package may offer it from another of its modules than the one that defines it.
            if entry_point.module.partition(".")[0] != factory.__module__.partition(".")[0]:
                raise UserError(f"{where}: the {self.kind} {name!r} is already registered by {entry_point.value}")
        self._components[name] = Component(
            kind=self.kind,
            name=name,
            factory=factory,
            parameters=self._parameters(name, factory, where),
            # Not inspect.getdoc: a class without a docstring would show that of nn.Module.
            summary=inspect.cleandoc(factory.__doc__ or "").partition("\n")[0],
            formula=formula,
            source=source,
            file=file,
            line=line,
        )

    def _parameters(self, name: str, factory: Callable[..., Any], where: str) -> type[BaseModel]:
        """Make the model of a factory's parameters from its typed signature."""
        what = f"{self.kind} {name!r}"
        function = factory.__init__ if inspect.isclass(factory) else factory
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            raise UserError(f"{where}: the {what} has an annotation that cannot be read: {error}") from None
        fields: dict[str, Any] = {}
        signature = _signature(factory)
        for missing in (needed for needed in self.supplied if needed not in signature):
            raise UserError(f"{where}: the {what} must take {missing!r}")
        for parameter in signature.values():
            if parameter.name in self.supplied or parameter.name in self.offered:
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise UserError(f"{where}: the parameter {parameter.name!r} of the {what} cannot be given by name")
            # pydantic's models have names of their own, and leave those with an underscore out.
            if parameter.name in self.reserved or parameter.name.startswith("_") or hasattr(Strict, parameter.name):
                raise UserError(f"{where}: a parameter of the {what} cannot be called {parameter.name!r}")
            if parameter.name not in hints:
                raise UserError(f"{where}: the parameter {parameter.name!r} of the {what} has no type")
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
        title = f"{Path(where).stem}_{name}"
        try:
            return create_model(title, __base__=Strict, **fields)
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{where}: the {what} has a parameter that cannot be configured: {reason}") from None


@functools.cache
def _entry_points_of(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry_point in entry_points(group=group):
        found.setdefault(entry_point.name, {})[entry_point.value] = entry_point
    return {name: list(by_value.values()) for name, by_value in found.items()}


def _signature(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a factory; a class that leaves its constructor to torch's Module has none."""
    # A class without any constructor has `object`'s, which belongs to no module.
    module = getattr(factory.__init__ if inspect.isclass(factory) else factory, "__module__", None) or ""
    if inspect.isclass(factory) and module.partition(".")[0] == "torch":
        return {}
    return dict(inspect.signature(factory).parameters)


def _place(factory: Callable[..., Any]) -> tuple[str, int]:
    try:
        file = inspect.getsourcefile(factory) or "?"
        return file, inspect.getsourcelines(factory)[1]
    except (OSError, TypeError):
        return "?", 0
