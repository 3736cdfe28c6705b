"""Names, counts and lists inside sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from ablations.values import in_words
from reports.numbers import MISSING

LONGEST_NAME = 60


def elided(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name on one line, its middle cut out where it is too long: both ends tell arms apart."""
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    head = (longest - 1 + 1) // 2
    return f"{name[:head]}…{name[len(name) - (longest - 1 - head) :]}"


def named(name: str) -> str:
    """Return a name in quotation marks, elided where it is long."""
    return f"“{elided(name)}”"


def listed(items: Sequence[str], most: int = 4) -> str:
    """Return "a", "a and b", "a, b and c", or "a, b, c and 13 more" beyond `most` items."""
    if len(items) > most:
        return f"{', '.join(items[: most - 1])} and {len(items) - most + 1} more"
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return "1 seed" or "5 seeds"."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def is_or_are(count: int) -> str:
    """Return the verb that agrees with a count."""
    return "is" if count == 1 else "are"


def sentence(text: str) -> str:
    """Return a text that ends as a sentence does."""
    text = text.strip()
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


def tied(text: str) -> str:
    """Return a sentence whose signs and units stay with their numbers, and intervals on one line."""
    text = re.sub(r"\[[^\]]{,40}\]", lambda interval: interval[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return re.sub(r"(?<=[=<±×\d]) (?=[%\d])|(?<=\d) (?=[±×] |[kMGT]\b)|(?<=\bp) (?=[=<])", "\N{NO-BREAK SPACE}", text)


def setting_text(value: Any) -> str:
    """Return a configuration value in words, else as a study would have it: YAML on one line; an en dash for none."""
    return MISSING if value is None else in_words(value, _yaml)


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
