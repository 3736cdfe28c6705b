"""Named groups: designs of their own within a study, all against its one reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablations.stored import StoredStudy
from deepsight.errors import UserError
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import planned, study_data, write_study
from tests.runs import write_text


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


def stored(folder: Path, text: Path, groups: dict[str, Any], **changes: Any) -> StoredStudy:
    """Plan a study of the arms `plain` (the reference) and `future`, with groups."""
    return planned(write_study(folder / "study.yaml", study_data(text, **changes) | {"groups": groups})).study


def test_a_group_is_a_design_of_its_own_on_its_own_base(text: Path, tmp_path: Path) -> None:
    groups = {
        "horizons": {"factors": {"objective.n": [3, 5]}, "base": {"model.layers": [2, 1], "training.steps": 6}},
        "sizes": {
            "factors": {"model.heads": [1, 4], "objective.merge": ["future_only"]},
            "design": "one_at_a_time",
            "arms": {"deep": {"model.layers": [2, 2]}},
        },
    }
    study = stored(tmp_path, text, groups, factors={"objective.n": [7, 5]})
    assert [(arm.group, arm.name) for arm in study.arms] == [
        (None, "n=7"),
        (None, "n=5"),
        (None, "plain"),
        (None, "future"),
        ("horizons", "n=3"),
        ("horizons", "horizons: n=5"),
        ("sizes", "base"),
        ("sizes", "heads=1"),
        ("sizes", "heads=4"),
        ("sizes", "merge=future_only"),
        ("sizes", "deep"),
    ]
    horizon = study.arm("horizons: n=5")
    assert horizon.settings == {"model.layers": [2, 1], "training.steps": 6, "objective.n": 5}
    assert (horizon.config["model"]["layers"], horizon.config["training"]["steps"]) == ([2, 1], 6)
    assert horizon.config["objective"][0]["n"] == 5
    assert study.arm("n=5").config["model"]["layers"] == study.arm("heads=1").config["model"]["layers"] == [1, 1]
    assert study.reference == "plain"
    assert study.factors == {"objective.n": [7, 5, 3], "model.heads": [1, 4], "objective.merge": ["future_only"]}


def test_a_cell_of_two_groups_runs_once_and_stands_in_both(text: Path, tmp_path: Path) -> None:
    groups = {name: {"factors": {"objective.n": [3, 5]}} for name in ("one", "two")}
    plan = planned(write_study(tmp_path / "study.yaml", study_data(text) | {"groups": groups}))
    arms = {arm.name: arm for arm in plan.study.arms}
    assert list(arms) == ["plain", "future", "one: n=3", "one: n=5", "two: n=3", "two: n=5"]
    assert arms["one: n=3"].trials == arms["two: n=3"].trials == arms["future"].trials
    assert arms["one: n=5"].trials == arms["two: n=5"].trials != arms["one: n=3"].trials
    assert len(plan.trials) == len({trial.id for trial in plan.trials}) == 3 * 2
    assert arms["two: n=5"].notes == ["means the same run as 'one: n=5' and shares its trials"]
    assert arms["two: n=5"].inference_parameters == arms["one: n=5"].inference_parameters


def test_constraints_hold_within_their_own_design(text: Path, tmp_path: Path) -> None:
    groups = {
        "few": {"factors": {"objective.n": [3, 7]}, "where": "objective.n < 5", "arms": {"far": {"objective.n": 9}}},
        "many": {"factors": {"objective.n": [7]}},
    }
    study = stored(tmp_path, text, groups, factors={"objective.n": [11, 13]}, where="objective.n != 13")
    assert [arm.name for arm in study.arms] == ["n=11", "plain", "future", "n=3", "far", "many: n=7"]
    assert [(cell.name, cell.reason) for cell in study.skipped] == [
        ("n=13", "not objective.n != 13: objective.n is 13"),
        ("few: n=7", "not objective.n < 5: objective.n is 7"),
    ]


def test_a_study_of_groups_alone_names_an_arm_of_one_as_its_reference(text: Path, tmp_path: Path) -> None:
    groups = {"a": {"design": "one_at_a_time", "factors": {"objective.n": [5]}}, "b": {"arms": {"n=5": {}}}}
    data = study_data(text, reference="a: n=5") | {"groups": groups, "arms": {}}
    study = planned(write_study(tmp_path / "study.yaml", data)).study
    assert (study.reference, [arm.name for arm in study.arms]) == ("a: n=5", ["base", "a: n=5", "b: n=5"])
    del data["reference"]
    with pytest.raises(UserError, match="the key 'reference' must name the arm to compare with; arms: base, a: n=5, b"):
        planned(write_study(tmp_path / "study.yaml", data))


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"factors": {"objective.m": [1]}}, "groups.g.factors.objective: unknown key 'm'"),
        ({"factors": {"objective.n": []}}, "groups.g.factors.objective.n: "),
        ({"arms": {"x": {"model": {"widht": 3}}}}, "groups.g.arms.x.model: unknown key 'widht'; did you mean 'width'?"),
        ({"arms": {"x": {}}, "base": {"model": {"heads": 3}}}, "groups.g.base.model.heads: 3 heads do not divide"),
        ({"arms": {"x": {"model.heads": 3}}, "base": {"training.steps": 3}}, "groups.g.arms.x.model.heads: 3 heads"),
        (
            {"arms": {"x": {}}, "base": {"training": 3, "training.steps": 2}},
            "groups.g.base: the key 'training.steps' g",
        ),
        ({"factors": {"objective.n": [3]}, "desing": "grid"}, "groups.g: unknown key 'desing'; did you mean 'design'?"),
        ({"design": "leave_one_out"}, "groups.g.design: leave_one_out needs factors"),
        ({}, "groups.g: a group needs factors or arms"),
        ({"where": "n == 3", "factors": {"objective.n": [3]}}, "groups.g.where.0: 'n == 3' names no key"),
        ({"where": "objective.nn == 3", "factors": {"objective.n": [3]}}, "groups.g.where.0: no run of this study has"),
        ({"where": "objective < 3", "factors": {"objective.n": [3]}}, "groups.g.where.0: 'objective < 3' cannot be"),
        ({"factors": {"objective.n": [3, 3]}}, "groups.g.arms: two arms are called 'n=3'; rename one"),
        (
            {"arms": {"x": {"data.corpus": {"name": "files", "path": "gone"}}}},
            "groups.g.arms.x.data.corpus.path: there",
        ),
        (
            {"arms": {"x": {}}, "base": {"data.corpus": {"name": "files", "path": "gone"}}},
            "groups.g.base.data.corpus.path: there is no file or folder 'gone'",
        ),
        ({"arms": {"x": {"model.match": "size"}}}, "groups.g.arms.x.model.match: unknown value 'size'"),
        ({"arms": {"x": {}}, "base": {"training.match": "size"}}, "groups.g.base.training.match: unknown value 'size'"),
        (
            {"arms": {"x": {"model.match": "parameters"}}, "base": {"model.width": 32}},
            "groups.g.base.model.width: match solves the width: leave it out here",
        ),
        (3, "groups.g: "),
    ],
)
def test_what_is_wrong_in_a_group_is_said_with_its_place(text: Path, tmp_path: Path, group: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        stored(tmp_path, text, {"g": group})
    assert str(caught.value).removeprefix(f"{tmp_path / 'study.yaml'}: ").startswith(said)


def test_names_that_a_group_does_not_tell_apart_are_refused(text: Path, tmp_path: Path) -> None:
    groups = {"g": {"arms": {"future": {}}}}
    data = study_data(text, arms__x={}) | {"groups": groups}
    data["arms"]["g: future"] = {}
    with pytest.raises(UserError, match=r"groups\.g\.arms: two arms are called 'g: future'; rename one"):
        planned(write_study(tmp_path / "study.yaml", data))


def test_a_match_of_a_group_holds_for_its_cells(text: Path, tmp_path: Path) -> None:
    groups = {
        "equal": {
            "base": {"model": {"architecture": "baseline", "match": "parameters"}, "objective": "none"},
            "factors": {"model.layers": [1, 3]},
            "arms": {"own": {"model": {"match": "none", "layers": 1}}},
        }
    }
    study = stored(tmp_path, text, groups)
    size = study.arm("plain").inference_parameters
    for layers in (1, 3):
        assert study.arm(f"layers={layers}").inference_parameters == pytest.approx(size, rel=0.01)
    assert study.arm("own").config["model"]["width"] == 16
    assert study.arm("own").notes == []
