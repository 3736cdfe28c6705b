"""What tests of commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deepsight import counting
from deepsight.config import RunConfig


@pytest.fixture
def counted_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunConfig], Any]:
    """Return `cost_of`, which for the length of a test counts equal runs once, wherever they are asked for."""
    known: dict[str, Any] = {}
    original = counting.cost_of

    def cost_of(config: RunConfig) -> Any:
        key = config.model_dump_json()
        if key not in known:
            known[key] = original(config)
        return known[key]

    monkeypatch.setattr(counting, "cost_of", cost_of)
    return cost_of
