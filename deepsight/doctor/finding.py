"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        about: what it is of.
        value: what was found.
        why: where that is a choice, its reason.
        advice: what a person may want to do; empty where all is well.
        failed: whether it is a fault.

    """

    about: str
    value: str
    why: str = ""
    advice: str = ""
    failed: bool = False
