"""Systems in processes of their own answer, and say when they cannot."""

from __future__ import annotations

import pytest

from benchmarks.apart import Apart
from benchmarks.options import Options
from benchmarks.shapes import SHAPES


def test_a_system_apart_tells_the_seconds_of_what_it_is_asked() -> None:
    with Apart("baseline", SHAPES["B"], Options(threads=1)) as system:
        assert 0 < system.generate(1, 2) < system.step() < 100


def test_a_system_that_has_ended_is_named() -> None:
    with Apart("nobody", SHAPES["B"], Options(threads=1)) as system, pytest.raises(RuntimeError, match="nobody"):
        system.step()
