"""Peers are what they are called, do the same work, and stand for what they should."""

from __future__ import annotations

import pytest
import torch

from benchmarks.options import missing
from benchmarks.shapes import Shape
from benchmarks.systems import SYSTEMS

TINY = Shape("tiny", 300, 12, 2, 24, 2, 4, (2, 2), 24, 4)


@pytest.fixture(params=[name for name in SYSTEMS if "compiled" not in name])
def system(request: pytest.FixtureRequest) -> object:
    if package := missing(request.param):
        pytest.skip(f"needs {package}: pip install 'deepsight[bench]'")
    torch.manual_seed(0)
    return SYSTEMS[request.param](TINY, "cpu")


def test_a_step_learns_the_batch(system: object) -> None:
    weights = [weight.detach().clone() for group in system.optimizer.param_groups for weight in group["params"]]  # type: ignore[attr-defined]
    system.step()  # type: ignore[attr-defined]
    after = [weight for group in system.optimizer.param_groups for weight in group["params"]]  # type: ignore[attr-defined]
    assert any(not torch.equal(one, other) for one, other in zip(weights, after, strict=True))


def test_generation_gives_as_many_tokens_as_asked_for(system: object) -> None:
    found = system.generate(torch.zeros(3, 1, dtype=torch.long), 8)  # type: ignore[attr-defined]
    assert found.shape == (3, 8)
    assert 0 <= int(found.min()) <= int(found.max()) < TINY.vocabulary


def test_sizes_are_near_each_other(system: object) -> None:
    sizes = [parameters_of(SYSTEMS[name](TINY, "cpu")) for name in ("DeepSight", "baseline")]
    assert any(0.7 < parameters_of(system) / size < 1.6 for size in sizes)


def test_the_plain_original_has_the_products_parameters() -> None:
    ours, plain = (parameters_of(SYSTEMS[name](TINY, "cpu")) for name in ("DeepSight", "plain original"))
    # The original has one norm more, for a place that the published choice does not norm.
    assert plain - ours == 2 * TINY.width


def parameters_of(system: object) -> int:
    groups = system.optimizer.param_groups  # type: ignore[attr-defined]
    return sum(weight.numel() for group in groups for weight in group["params"])
