"""What any study file must be before it is read closely: bounded, with keys that are text, and names in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepsight.errors import UserError

LONGEST_NAME = 200
LONGEST_SHOWN = 60
DEEPEST = 40
MOST_VALUES = 100_000


def checked(content: Any) -> Any:
    """Return the content of a study file with numbers as keys made text.

    Raises:
        UserError: a key is no printable text, or there is more than a study can mean: YAML's aliases may hold
            themselves, or stand for more values than fit into memory.

    """
    return _copied(content, DEEPEST, [MOST_VALUES])


def check_name(name: str, what: str) -> None:
    """Refuse a name that would not stand in one line of a terminal, a file or a page.

    Raises:
        UserError: naming it.

    """
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise UserError(
            f"{what} must be printable text in one line, of at most {LONGEST_NAME} characters, not {_shown(name)}"
        )


def _copied(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise UserError(f"this is too much for a study: more than {MOST_VALUES:,} values")
    if isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value):
        raise UserError(f"the text {_shown(value)} cannot be written to a file: it holds half a character")
    if not isinstance(value, list | Mapping):
        return value
    if depth == 0:
        raise UserError(f"this is nested too deeply for a study: more than {DEEPEST} levels")
    if isinstance(value, list):
        return [_copied(item, depth - 1, left) for item in value]
    return {_key(key): _copied(item, depth - 1, left) for key, item in value.items()}


def _key(key: Any) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise UserError(f"the key {key!r} is no text; if a word is meant, put it in quotes")
    text = str(key)
    if not text.isprintable():
        raise UserError(f"the key {_shown(text)} has characters that cannot be printed")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")
