"""Coefficients over time, and places as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from deepsight.config import run_config
from deepsight.errors import UserError
from deepsight.merging import merged
from deepsight.objective_specs import Coefficient, coefficient_of, resolved_objective
from deepsight.objectives_of_run import Objectives
from deepsight.trace import Shape
from tests.runs import run_of

SHAPE = Shape(vocabulary=5, width=6, context=20, heads=1, layers=4)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"start": 0.5}, [0.5, 0.5, 0.5, 0.5]),
        ({"start": 0.5, "schedule": "linear_decay"}, [0.5, 0.375, 0.25, 0.125]),
        ({"start": 0.5, "schedule": "linear_decay", "share": 0.5}, [0.5, 0.25, 0.0, 0.0]),
        ({"schedule": "off_after", "share": 0.5}, [1.0, 1.0, 0.0, 0.0]),
    ],
)
def test_a_coefficient_over_the_run(written: dict[str, Any], expected: list[float]) -> None:
    coefficient = Coefficient(**written)
    assert [coefficient.at(progress) for progress in (0.0, 0.25, 0.5, 0.75)] == pytest.approx(expected, abs=0)


def test_a_constant_schedule_is_a_number() -> None:
    assert resolved_objective({"name": "future_context", "coefficient": {"start": 0.3}})["coefficient"] == 0.3
    spec = resolved_objective({"name": "future_context", "coefficient": {"schedule": "off_after", "share": 0.5}})
    assert spec["coefficient"] == {"start": 1.0, "schedule": "off_after", "share": 0.5}
    assert coefficient_of(spec).at(0.6) == 0.0
    assert resolved_objective(spec) == spec


def test_every_objective_attaches_where_it_is_told() -> None:
    assert resolved_objective("future_context")["attach"] == "encoder"
    for place in ("encoder", "decoder", {"layer": 3}):
        spec = resolved_objective({"name": "future_context", "attach": place})
        assert spec["attach"] == place
        assert Objectives([spec], SHAPE, 0).places == {"future_context": place}


def test_a_layer_that_is_not_there_is_named() -> None:
    spec = resolved_objective({"name": "future_context", "attach": {"layer": 5}})
    with pytest.raises(UserError, match=r"^objective\.0\.attach\.layer: there is no layer 5; the network has 4$"):
        Objectives([spec], SHAPE, 0)


@pytest.mark.parametrize("before", ["encoder", {"layer": 1}])
def test_a_place_replaces_a_place(before: Any) -> None:
    base = {"objective": {"name": "future_context", "attach": before}}
    assert merged(base, {"objective.attach": {"layer": 2}})["objective"]["attach"] == {"layer": 2}
    assert merged(base, {"objective": {"attach": "decoder"}})["objective"]["attach"] == "decoder"


def test_a_schedule_replaces_a_number(tmp_path: Any) -> None:
    data = run_of(tmp_path).complete()
    schedule = {"schedule": "linear_decay"}
    changed = run_config(merged(data, {"objective.coefficient": schedule}))
    assert changed.objective[0]["coefficient"] == {"start": 1.0, "schedule": "linear_decay", "share": 1.0}
    assert run_config(merged(changed.complete(), {"objective.coefficient": 0.5})).objective[0]["coefficient"] == 0.5
