"""Changes laid over a configuration: nested mappings or dotted keys, later ones first."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from deepsight.errors import UserError

Data = dict[str, Any]

WHOLE_VALUES = ("attach", "coefficient")
"""Keys whose mapping is one value ({layer: 3}; a schedule): it replaces what was there."""


TEXT = frozenset({"corpus", "tokenizer", "validation_fraction"})
ALTERNATIVES = {"task": TEXT, **{key: frozenset({"task"}) for key in TEXT}}
"""Keys of `data` → keys that cannot stand beside them."""


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Data:
    """Return `base` with `changes` laid over it; neither is altered.

    Keys may be dotted (``training.steps``). Mappings merge; anything else replaces. A mapping with a ``name`` is a
    whole component and replaces what was there, while one without changes parameters of the component that is there.
    In `data`, a task replaces the text, and text a task.
    A list is entered by position (``objective.0.n``); a list of one also stands for its item (``objective.n``).

    Raises:
        UserError: a dotted key goes through something that has no keys.

    """
    result: Data = copy.deepcopy(dict(base))
    for key, value in changes.items():
        _set(result, str(key).split("."), value, str(key))
    _keep_one(result, set(with_dotted_keys(changes)))
    return result


def with_dotted_keys(data: Mapping[str, Any], prefix: str = "") -> Data:
    """Return nested mappings flattened to dotted keys; components (mappings with a ``name``) and lists stay whole."""
    flat: Data = {}
    for key, value in data.items():
        last = str(key).rpartition(".")[2]
        if isinstance(value, Mapping) and "name" not in value and value and last not in WHOLE_VALUES:
            flat.update(with_dotted_keys(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = copy.deepcopy(value)
    return flat


def _keep_one(result: Data, changed: set[str]) -> None:
    """Take out what a changed key replaces: a task the text, and text a task."""
    data = result.get("data")
    if not isinstance(data, dict):
        return
    written = {key.split(".")[1] for key in changed if key.startswith("data.")}
    for key, others in ALTERNATIVES.items():
        if key in written and not written & others:
            for other in others:
                data.pop(other, None)


def _set(container: Any, path: list[str], value: Any, key: str) -> None:
    """Put a value at a path into a dictionary or list, in place; `key` is the path as written, for messages."""
    head, rest = path[0], path[1:]
    if isinstance(container, list) and len(container) == 1 and not head.isdecimal():
        container[0] = container = _opened(container[0], key)
    place = _place(container, head, key)
    inner = container.get(place) if isinstance(container, dict) else container[place]
    if rest:
        container[place] = inner = _opened(inner, key)
        _set(inner, rest, value, key)
    elif isinstance(value, Mapping) and value and "name" not in value and head not in WHOLE_VALUES:
        container[place] = inner = _opened(inner, key)
        for below, change in value.items():
            _set(inner, str(below).split("."), change, f"{key}.{below}")
    elif not isinstance(value, Mapping) or value or inner is None:
        container[place] = copy.deepcopy(value)


def _place(container: Any, head: str, key: str) -> Any:
    if isinstance(container, dict):
        return head
    if head.isdecimal() and int(head) < len(container):
        return int(head)
    raise UserError(f"the key {key!r} needs a position in the list of {len(container)}, not {head!r}")


def _opened(inner: Any, key: str) -> Any:
    """Return what a longer key can go into: a component written as a name becomes a mapping."""
    if inner is None:
        return {}
    if isinstance(inner, str):
        return {"name": inner}
    if isinstance(inner, (dict, list)):
        return inner
    raise UserError(f"the key {key!r} goes into {inner!r}, which has no keys")
