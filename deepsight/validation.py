"""Data from outside becomes a typed object, or one sentence says why not.

Values are read as JSON and strictly: 3 is a float, but "3" is no number and true is no integer.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from deepsight.errors import Path, UserError, suggestion

Model = TypeVar("Model", bound=BaseModel)

_ABOUT_KEYS = ("missing", "extra_forbidden")


class Strict(BaseModel):
    """The base of everything that people write: unknown keys are refused, objects do not change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


def validated(model: type[Model], data: Any) -> Model:
    """Return `data` (mappings, lists, strings, numbers) as a `model`.

    Raises:
        UserError: with the path of the first thing that does not fit, and the nearest valid key.

    """
    if not isinstance(data, Mapping):
        raise UserError(f"a mapping of keys to values is needed here, not {_shown(data)}")
    try:
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise _sentence(model, data, error) from None


def _sentence(model: type[BaseModel], data: Mapping[str, Any], error: ValidationError) -> UserError:
    errors = [(_place(model, data, found), found) for found in error.errors(include_url=False)]
    # An unknown key goes first: it may be the misspelt one that is missing.
    place, first = next((pair for pair in errors if pair[1]["type"] == "extra_forbidden"), errors[0])
    if first["type"] in _ABOUT_KEYS:
        key = str(first["loc"][-1])
        if first["type"] == "missing":
            return UserError(f"the key {key!r} is missing", place)
        return UserError(f"unknown key {key!r}{suggestion(key, _fields_at(model, place))}", place)
    # A union reports errors for each of its members; the member that got furthest was meant.
    rivals = [pair for pair in errors if pair[0][: len(place)] == place]
    deepest = max((pair[0] for pair in rivals), key=len)
    return _of_value(deepest, [found for where, found in rivals if where == deepest])


def _of_value(place: Path, errors: list[ErrorDetails]) -> UserError:
    """Return what is wrong with one value; several errors are those of a union's members."""
    first = errors[0]
    given = first.get("input")
    original = first.get("ctx", {}).get("error")
    if isinstance(original, UserError):
        return original.within(*place)
    if isinstance(original, Exception):
        return UserError(str(original), place)
    if first["type"] == "literal_error" and isinstance(given, str):
        expected = [part.strip("'") for part in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return UserError(f"unknown value {given!r}{suggestion(given, expected)}", place)
    wanted = dict.fromkeys(_wanted(error["msg"]) for error in errors)
    message = " or ".join(wanted)
    start = "this should be " if first["msg"].startswith("Input should be ") else ""
    return UserError(f"{start}{message}, not {_shown(given)}", place)


def _place(model: type[BaseModel], data: Any, error: ErrorDetails) -> Path:
    """Return where in the data an error is: pydantic's location less the names of a union's members.

    For a missing or unknown key it is the mapping that lacks or has it.
    """
    location = error["loc"][:-1] if error["type"] in _ABOUT_KEYS else error["loc"]
    place: list[str | int] = []
    for part in location:
        in_mapping = isinstance(data, Mapping) and part in data
        in_list = isinstance(data, (list, tuple)) and isinstance(part, int)
        if in_mapping or in_list:
            data = data[part]
        elif place or part not in model.model_fields:
            continue  # a default that does not fit is at the top and in no data
        place.append(part)
    return tuple(place)


def _wanted(message: str) -> str:
    wanted = message.removeprefix("Input should be ")
    return "a mapping of keys to values" if wanted == "an object" else wanted


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys known at `path` below `model`."""
    current: type[BaseModel] | None = model
    for part in path:
        fields: dict[Any, Any] = {} if current is None else dict(current.model_fields)
        if part not in fields:
            break
        current = _model_in(fields[str(part)].annotation)
    return list(current.model_fields) if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, list, dict):
        return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
    return None
