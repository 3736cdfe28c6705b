"""The error that a person caused and can mend, and the nearest valid thing to suggest."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable

Path = tuple[str | int, ...]


class UserError(ValueError):
    """One clear sentence: what is wrong, where, and the nearest valid thing.

    The command line prints it without a traceback and exits with code 2. `path` is the place inside the value that was
    given (keys and list positions); whoever knows more of the place puts it before with `within`.
    """

    def __init__(self, reason: str, path: Path = ()) -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{dotted(path)}: {reason}" if path else reason)

    def within(self, *place: str | int) -> UserError:
        """Return the same error, seen from outside: `place` comes before its path."""
        return UserError(self.reason, (*place, *self.path))


class DamagedError(UserError):
    """What a run left on disk is not what it wrote."""


class LostProcessError(UserError):
    """Another process of the same run has ended."""


def dotted(path: Path) -> str:
    """Return a place as people write it: ("objective", 0, "n") is objective.0.n."""
    return ".".join(str(part) for part in path)


def line_in(file: str, error: BaseException) -> str | None:
    """Return ``file:line`` of the innermost frame of an error that lies in a file, None where none does."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{frames[-1].lineno}" if frames else None


def suggestion(asked: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'? known: a, b, x" for an unknown name (without the question if nothing is near)."""
    names = sorted(known)
    near = difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
    question = f"; did you mean {near[0]!r}? known:" if near else "; known:"
    return f"{question} {', '.join(names) if names else 'none'}"
