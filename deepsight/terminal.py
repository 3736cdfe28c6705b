"""Text from studies, plug-ins and files on a terminal: what it says, without what it might do."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text in one line, each character that is not printable in its escaped form."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
