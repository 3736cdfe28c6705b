"""The published tables as data, and the studies that repeat them, at the published scale and others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablations.identities import Identities
from ablations.plan import Plan, plan_study
from ablations.published import published_run, published_tables
from ablations.study_files import built_in_names, read_study, study_file
from deepsight.errors import UserError
from deepsight.files import digest_of_json
from reports.published_table import differences_to_published
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import planned, study_data, write_study

SIBLING = "paper-sibling-vs-baseline"
PAPER = [name for name in built_in_names() if name.startswith("paper-")]


@pytest.fixture(autouse=True)
def no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trials be named without their corpus, since the published one is on a hub, and plan quickly."""
    monkeypatch.setattr(Identities, "of", lambda _, config: digest_of_json(config.complete()))
    plan_quickly(monkeypatch)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs be what they are: to build the published ones takes seconds each."""
    for module in ("ablations.plan", "ablations.resolving"):
        monkeypatch.setattr(f"{module}.check_run", lambda config: None)


def plan_of(name: str, preset: str | None = None) -> Plan:
    file = study_file(name)
    return plan_study(read_study(file, preset), file, "")


def test_every_published_table_is_repeated_by_one_study_and_no_run_is_forgotten() -> None:
    published = {name: read_study(study_file(name)).published for name in PAPER}
    tables = [one.table for one in published.values() if one is not None]
    assert sorted(tables) == sorted(published_tables())
    for one in published.values():
        assert one is not None
        missing = set(published_tables()[one.table]) - set(one.runs.values())
        assert not missing


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", PAPER)
def test_at_the_published_scale_every_arm_is_its_published_run(name: str) -> None:
    stored = plan_of(name).study
    assert stored.published is not None
    assert set(stored.published.runs) == {arm.name for arm in stored.arms if arm.name in stored.published.runs}
    extra = [arm.name for arm in stored.arms if arm.name not in stored.published.runs]
    assert extra == []
    for arm in stored.arms:
        run = published_run(stored.published.table, stored.published.runs[arm.name])
        other = run.context != stored.base["model"]["context"]
        found = list(differences_to_published(arm.config, run))
        assert found == ([f"context {stored.base['model']['context']}, published {run.context}"] if other else [])


@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_scaled_baselines_stand_to_the_others_as_the_published_ones(preset: str) -> None:
    """1.7 % more parameters and 2.0 % fewer, within half a percent."""
    sizes = {arm.name: arm.inference_parameters for arm in plan_of("paper-vs-baseline", preset).study.arms}
    first = next(iter(sizes.values()))
    assert sizes["baseline"] / first == pytest.approx(16_036_800 / 15_763_500, abs=0.005)
    assert sizes["smaller baseline"] / first == pytest.approx(15_441_192 / 15_763_500, abs=0.005)


@pytest.mark.parametrize("preset", [None, "small", "tiny"])
def test_both_studies_of_baselines_have_the_same_ones(preset: str | None) -> None:
    first, second = (read_study(study_file(name), preset).arms for name in ("paper-vs-baseline", SIBLING))
    for name in ("baseline", "smaller baseline"):
        assert first[name] == second[name]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", [*PAPER, "layer-splits", "aggregators", "norms"])
@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_every_scaled_study_can_be_planned(name: str, preset: str) -> None:
    stored = plan_of(name, preset).study
    assert stored.name == f"{name}-{preset}"
    assert len(stored.seeds) == 5
    depths = {sum(layers) if isinstance(layers := arm.config["model"]["layers"], list) else layers
              for arm in stored.arms}  # fmt: skip
    assert len(depths) == 1


def test_numbers_are_those_of_the_file() -> None:
    run = published_run("deepsight_vs_baseline", "0.3 dropout baseline")
    assert (run.train_loss, run.validation_loss, run.auxiliary_loss) == (3.173, 3.364, None)
    assert (run.width, run.layers, run.heads, run.cross_heads, run.dropout) == (160, (26,), 10, None, 0.3)
    assert published_run("deepsight_horizons", "deepsight_distances/FCS=11 cosine").distance == "cosine"
    assert sum(map(len, published_tables().values())) == 22


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ({"table": "deepsight_horizon", "runs": {"plain": "x"}}, "published.table: unknown published table "
         "'deepsight_horizon'; did you mean 'deepsight_horizons'"),
        ({"table": "deepsight_distances", "runs": {"plain": "FCS=11 MSD"}}, "published.runs.plain: the published table "
         "'deepsight_distances' has no run 'FCS=11 MSD'; did you mean 'FCS=11 MSE'"),
        ({"table": "deepsight_distances", "runs": {"plane": "FCS=11 MSE"}},
         "published.runs: there is no arm 'plane'; did you mean 'plain'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(published: object, message: str, tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(tmp_path, published=published))
    with pytest.raises(UserError) as caught:
        planned(file)
    assert message in str(caught.value)
