"""From a study to trials, from trials to files, from files to pandas.

`load(folder)` and `curves(folder)` give a study's trials and evaluations as data frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablations.frames import curves, load

__all__ = ["curves", "load"]


def __getattr__(name: str) -> Any:
    # pandas is imported when it is needed: the command line imports this package for its study names.
    if name in __all__:
        from ablations import frames

        return getattr(frames, name)
    raise AttributeError(f"module 'ablations' has no attribute {name!r}")
