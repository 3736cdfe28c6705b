"""Ctrl-C asks a long command to stop at the next safe point; a second one ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signal(*, insist: bool = True) -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGINT or SIGTERM came; the second SIGINT raises KeyboardInterrupt.

    Args:
        insist: False lets no second one interrupt; under torchrun one Ctrl-C may arrive twice.

    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if insist and asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
