"""What a study's factors and arms make, which runs are the same, and how arms are matched."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.matching import matched
from deepsight.config import RunConfig, run_config
from tests.ablations.studies import planned, study_data, write_study
from tests.runs import run_data, write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


def test_a_grid_stands_beside_the_arms_and_changes_the_base_alone(text: Path, tmp_path: Path) -> None:
    factors = {"objective.n": [3, 5], "model.layers": [[1, 1], [2, 1]]}
    plan = planned(write_study(tmp_path / "study.yaml", study_data(text, factors=factors)))
    names = [arm.name for arm in plan.study.arms]
    grid = [f"n={n}, layers=[{layers},1]" for n in (3, 5) for layers in (1, 2)]
    assert names == [*grid, "plain", "future"]
    cell = plan.study.arm("n=5, layers=[2,1]")
    assert cell.config["objective"][0]["n"] == 5
    assert cell.config["model"]["layers"] == [2, 1]
    assert plan.study.arm("plain").config["objective"] == []
    assert plan.study.arm("plain").config["model"]["layers"] == [1, 1]


def test_cells_that_mean_the_same_share_their_trials(text: Path, tmp_path: Path) -> None:
    plan = planned(write_study(tmp_path / "study.yaml", study_data(text, factors={"objective.n": [3, 5]})))
    same = plan.study.arm("n=3")
    assert same.trials == plan.study.arm("future").trials
    assert plan.study.arm("future").notes == ["means the same run as 'n=3' and shares its trials"]
    assert len(plan.trials) == 3 * 2
    assert len({trial.id for trial in plan.trials}) == 6


def test_one_at_a_time_varies_each_factor_around_the_base(text: Path, tmp_path: Path) -> None:
    data = study_data(text, factors={"objective.n": [5, 7], "model.heads": [1]}, design="one_at_a_time")
    del data["arms"], data["reference"]
    plan = planned(write_study(tmp_path / "study.yaml", data))
    assert [arm.name for arm in plan.study.arms] == ["base", "n=5", "n=7", "heads=1"]
    assert plan.study.reference == "base"


def test_trials_run_seed_by_seed(text: Path, tmp_path: Path) -> None:
    plan = planned(write_study(tmp_path / "study.yaml", study_data(text, seeds=[4, 2])))
    assert [trial.config.seed for trial in plan.trials] == [4, 4, 2, 2]


def test_an_architecture_brings_its_default_objective(text: Path, tmp_path: Path) -> None:
    data = study_data(text, arms={"baseline": {"model": {"architecture": "baseline"}}}, reference="baseline")
    del data["base"]["objective"]
    plan = planned(write_study(tmp_path / "study.yaml", data))
    assert plan.study.base["objective"][0]["name"] == "future_context"
    assert plan.study.arm("baseline").config["objective"] == []
    assert plan.study.arm("baseline").config["model"]["layers"] == 2


def test_the_identity_is_what_is_run_and_not_how(text: Path) -> None:
    def identity(**changes: object) -> str:
        return run_config(run_data(text, **changes)).identity("text", {})

    first = identity()
    assert len(first) == 64
    assert identity(runtime__threads=2, runtime__micro_batch_size=1) == first
    assert identity(objective__aggregator={"name": "decay"}) == identity(objective__aggregator="decay") == first
    others = [
        identity(seed=1),
        identity(objective__n=4),
        identity(training__steps=13),
        identity(data__validation_fraction=0.31),
        run_config(run_data(text)).identity("another text", {}),
        run_config(run_data(text)).identity("text", {"aggregator decay": "another file"}),
    ]
    assert len({first, *others}) == 7


def test_a_changed_text_is_another_run(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", documents=4)
    file = write_study(tmp_path / "study.yaml", study_data(text))
    before = {trial.id for trial in planned(file).trials}
    assert {trial.id for trial in planned(file).trials} == before
    (text / "00.txt").write_text("something else", encoding="utf-8")
    assert not before & {trial.id for trial in planned(file).trials}


def parameters(config: RunConfig) -> int:
    """Written out: embeddings, positions, final norm, and 12 w² + 2 w a layer (16 w² + 4 w, and a bridge of w²)."""
    model, vocabulary = config.model, config.data.vocabulary
    width = model.width
    count = (vocabulary + model.context + 1) * width
    if isinstance(model.layers, int):
        return count + model.layers * (12 * width**2 + 2 * width)
    encoder, decoder = model.layers
    return count + encoder * (12 * width**2 + 2 * width) + width**2 + decoder * (16 * width**2 + 4 * width)


@given(
    width=st.integers(2, 12).map(lambda heads: 8 * heads),
    layers=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_a_matched_baseline_is_the_nearest_feasible(width: int, layers: tuple[int, int]) -> None:
    base = run_config(run_data(Path(), model__width=width, model__heads=width // 8, model__layers=list(layers)))
    wanted = run_config(run_data(Path(), model__architecture="baseline", model__layers=list(layers), objective="none"))
    match = matched(wanted, base)
    found = wanted.model_copy(update={"model": match.model})
    assert match.parameters == parameters(found)
    assert match.target == parameters(base)
    assert match.model.width % match.model.heads == 0
    assert 6 <= match.model.width / match.model.heads <= 8 * 4 / 3
    # Nothing one or two steps further, with any allowed number of heads, comes nearer.
    for other in range(max(1, match.model.width - 8), match.model.width + 9):
        if any(other % heads == 0 and 6 <= other / heads <= 8 * 4 / 3 for heads in range(1, other + 1)):
            model = match.model.model_copy(update={"width": other, "heads": 1})
            count = parameters(wanted.model_copy(update={"model": model}))
            assert abs(count - match.target) >= abs(match.parameters - match.target)
