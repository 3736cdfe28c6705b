"""Configuration values as people read them: places, schedules and components in a few words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SCHEDULE = {"start": 1.0, "schedule": "constant", "share": 1.0}
"""The keys of a coefficient over time, and what each is where it is not written."""


def in_words(value: Any, plain: Callable[[Any], str]) -> str:
    """Return a value in words: ``layer 3``, ``1 → 0 (linear_decay over 0.5)``, ``name(parameter=value)``.

    Args:
        value: of a configuration key, as written or resolved.
        plain: writes everything that is none of these.

    """
    if isinstance(value, list) and any(_is_component(item) for item in value):
        return " + ".join(in_words(item, plain) if _is_component(item) else str(item) for item in value)
    if not isinstance(value, Mapping) or not value:
        return plain(value)
    if set(value) == {"layer"}:
        return f"layer {value['layer']}"
    if set(value) <= set(SCHEDULE):
        return _schedule({**SCHEDULE, **value})
    if _is_component(value):
        parameters = [f"{key}={in_words(item, plain)}" for key, item in value.items() if key != "name"]
        return f"{value['name']}({', '.join(parameters)})" if parameters else str(value["name"])
    return plain(value)


def depth(value: Any) -> int | None:
    """Return k of the place {layer: k}; None for any other value."""
    return int(value["layer"]) if isinstance(value, Mapping) and set(value) == {"layer"} else None


def _is_component(value: Any) -> bool:
    return isinstance(value, Mapping) and "name" in value


def _schedule(value: Mapping[str, Any]) -> str:
    start, share = _number(value["start"]), _number(value["share"])
    if value["schedule"] == "constant":
        return start
    over = "" if share == "1" else f" over {share}"
    return f"{start} → 0 ({value['schedule']}{over})"


def _number(value: Any) -> str:
    """Return a number in short; names are made before the configuration is checked, so anything else as it is."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)
