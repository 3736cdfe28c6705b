"""Which arms form lines and maps of accuracy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.stored import StoredStudy
from reports.figures.task_lines import line_panels, swept_keys
from reports.figures.task_maps import GROUP, horizon_of, task_maps
from tests.reports import synthetic, task_studies
from tests.reports.drawings import attached, one_sweep

KEYS = ("objective.n", "data.task.delay", "objective.aggregator")
DESIGNS = st.lists(
    st.fixed_dictionaries(
        {}, optional={key: st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True) for key in KEYS}
    ).filter(bool),
    min_size=1,
    max_size=3,
)


def study_of(designs: list[dict[str, list[int]]]) -> StoredStudy:
    """A study with a group for each design, or none where there is one design only."""
    groups: dict[Any, Any] = {
        (f"group {place}" if len(designs) > 1 else None): ({"training.steps": place}, design)
        for place, design in enumerate(designs)
    }
    first = ", ".join(str(values[0]) for values in designs[0].values())
    reference = f"group 0: {first}" if len(designs) > 1 else first
    return task_studies.of_groups(groups, reference, lambda *_: 0.5, lambda _: 0.5, seeds=1)[0]


@given(DESIGNS)
def test_arms_of_a_line_agree_in_all_but_the_key_and_those_of_a_panel_in_what_it_says(designs: Any) -> None:
    study = study_of(designs)
    for key in KEYS:
        covered = set()
        for panel in line_panels(study, key):
            names = [line.name for line in panel.lines]
            assert len(set(names)) == len(names)
            for line in panel.lines:
                arms = [study.arm(name) for _, name in line.points]
                values = [arm.settings[key] for arm in arms]
                assert values == sorted(set(values))
                assert len(values) > 1
                others = [{k: v for k, v in arm.settings.items() if k != key} | {"": arm.group} for arm in arms]
                assert all(other == others[0] for other in others)
                assert all(others[0].get(name, value) == value for name, value in panel.settings.items())
                covered |= {arm.name for arm in arms}
        # Naively: an arm is on a line where another of its group differs from it in the key alone.
        wanted = {
            arm.name
            for arm in study.arms
            for other in study.arms
            if key in arm.settings and arm.group == other.group
            and {k for k in {*arm.settings, *other.settings} if arm.settings.get(k) != other.settings.get(k)} == {key}
        }  # fmt: skip
        assert covered == wanted


@given(DESIGNS)
def test_each_cell_of_a_map_is_the_arm_that_its_row_and_column_name(designs: Any) -> None:
    study = study_of(designs)
    for one in task_maps(study):
        for plane in one.planes:
            for (row, column), name in plane.cells.items():
                arm = study.arm(name)
                assert f"{arm.settings[one.columns]:g}" == plane.columns[column]
                own = arm.settings.get(plane.row_key) if plane.row_key else None
                assert plane.rows[row] == (f"{own:g}" if own is not None else plane.rows[row])
                if one.rows == GROUP:
                    assert plane.rows[row] == arm.group


def test_the_built_in_studies_have_their_panels() -> None:
    assert swept_keys(task_studies.attachment()[0]) == ["objective.attach"]
    (panel,) = line_panels(task_studies.attachment()[0], "objective.attach")
    assert [line.name for line in panel.lines] == ["bag of words", "multi-token"]
    assert [value for value, _ in panel.lines[0].points] == task_studies.PLACES
    panels = line_panels(task_studies.degree()[0], "data.task.degree")
    assert [panel.settings for panel in panels] == [{"data.task.length": length} for length in (3, 4, 5)]
    assert all(len(panel.lines) == 3 for panel in panels)
    (panel,) = line_panels(task_studies.dial()[0], "data.task.delay")
    assert len(panel.lines) == 6


def test_a_line_without_a_factor_stands_in_every_panel() -> None:
    panels = line_panels(task_studies.horizons()[0], "data.task.delay")
    assert [panel.settings for panel in panels] == [{"objective.n": n} for n in task_studies.DELAYS]
    names = ["next token", "n ahead", "learned horizon"]
    assert all([line.name for line in panel.lines] == names for panel in panels)
    assert len({panel.lines[0].points for panel in panels}) == 1


def test_without_groups_colours_are_the_first_other_factor() -> None:
    study = task_studies.crossed_numbers()[0]
    panels = line_panels(study, "objective.n")
    assert [panel.settings for panel in panels] == [{"data.task.delay": delay} for delay in (1, 4, 16)]
    assert [line.name for line in panels[0].lines] == ["aggregator average", "aggregator decay"]
    (panel,) = line_panels(one_sweep()[0], "objective.n")
    assert [line.name for line in panel.lines] == [""]


def test_maps_are_of_numbers_alone() -> None:
    assert task_maps(task_studies.attachment()[0]) == []
    assert task_maps(attached()[0]) == []
    assert [(one.rows, one.columns) for one in task_maps(task_studies.degree()[0])] == [
        ("data.task.degree", "data.task.length")
    ]
    one_at_a_time: dict[str, dict[str, Any]] = {"base": {}, **{f"n={n}": {"objective.n": n} for n in (1, 2)}}
    one_at_a_time |= {f"delay={n}": {"data.task.delay": n} for n in (1, 2)}
    factors = {"objective.n": [1, 2], "data.task.delay": [1, 2]}
    assert task_maps(synthetic.study_of(one_at_a_time, "base", factors=factors)) == []


def test_the_delay_runs_from_left_to_right_whichever_factor_is_written_first() -> None:
    study = task_studies.horizons()[0]
    turned = study.model_copy(update={"factors": dict(reversed(study.factors.items()))})
    for one in (study, turned):
        assert [(found.rows, found.columns) for found in task_maps(one)] == [("objective.n", "data.task.delay")]


def test_the_control_is_in_no_line_and_no_map() -> None:
    crossed = {"objective.n": [2, 4], "data.task.delay": [2, 4]}
    one_group = task_studies.of_groups({"only": ({}, crossed)}, "only: 2, 2", lambda *_: 0.5, lambda _: 0.1)[0]
    for study in (task_studies.horizons()[0], task_studies.dial()[0], one_group):
        controls = [
            arm.model_copy(update={"name": f"A/A {arm.name}", "control": True, "group": None}) for arm in study.arms
        ]
        with_control = study.model_copy(update={"arms": [*study.arms, *controls]})
        assert task_maps(with_control) == task_maps(study)
        for key in study.factors:
            assert line_panels(with_control, key) == line_panels(study, key)


def test_cells_where_horizon_and_delay_are_equal_are_told_from_others() -> None:
    (crossed,) = task_maps(task_studies.horizons()[0])
    future, without = crossed.planes
    told = {(future.rows[row], future.columns[column]) for row, column in future.equal}
    assert told == {(str(n), str(n)) for n in task_studies.DELAYS}
    assert not without.equal
    assert without.rows == ("next token", "learned horizon")
    (grouped,) = task_maps(task_studies.dial()[0])
    (plane,) = grouped.planes
    told = {(plane.rows[row], plane.columns[column]) for row, column in plane.equal}
    assert told == {(f"{n} ahead", str(n)) for n in task_studies.DELAYS}
    assert not task_maps(task_studies.degree()[0])[0].has_equal


def test_a_horizon_that_no_group_changes_tells_no_cell() -> None:
    delays: dict[str, list[Any]] = {"data.task.delay": [2, 4]}
    groups = {"here": (task_studies.BAG_OF_WORDS, delays), "there": (task_studies.MULTI_TOKEN, delays)}
    study = task_studies.of_groups(groups, "here: 2", lambda *_: 0.5, lambda _: 0.5)[0]
    assert [one.has_equal for one in task_maps(study)] == [False]


@pytest.mark.parametrize(
    ("settings", "config", "horizon"),
    [
        ({}, {}, None),
        ({"objective.n": 3}, {}, 3),
        ({"objective": {"name": "bag_of_words", "tau": 4}}, {}, 4),
        ({"objective": {"name": "bag_of_words", "tau": 4}, "objective.tau": 7}, {}, 7),
        ({"objective": "none"}, {}, None),
        ({"objective": {"name": "future_context", "n": 9, "aggregator": "learned_kernel"}}, {}, None),
        ({"objective.n": 9, "objective.aggregator": {"name": "learned_horizon"}}, {}, None),
        ({}, {"objective": [{"name": "future_context", "n": 9, "aggregator": {"name": "decay"}}]}, 9),
        ({}, {"objective": [{"name": "future_context", "n": 9}, {"name": "multi_token", "n": 2}]}, None),
        ({"objective.n": 3}, {"objective": []}, 3),
    ],
)
def test_how_far_an_arm_looks(settings: Any, config: Any, horizon: float | None) -> None:
    arm = synthetic.study_of({"arm": settings}, "arm", 1).arms[0].model_copy(update={"config": config})
    assert horizon_of(arm) == horizon
