"""Plans without counting FLOPs and memory, which takes most of the time of planning a small study."""

from __future__ import annotations

import pytest

from ablations.sizes import inference_parameters
from deepsight.config import RunConfig
from deepsight.counting import Cost


def quick_cost(config: RunConfig) -> Cost:
    """Return a cost whose inference parameters are right, and nothing else."""
    found = inference_parameters(config)
    return Cost(found, found, found, 0, 0, 0, 0)


def plan_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans count inference parameters alone."""
    monkeypatch.setattr("ablations.assembling.known_cost", quick_cost)
