"""What a study's factors and arms make, which runs are the same, and what arms are matched to."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from ablations.costs import known_cost
from ablations.plan import plan_study
from ablations.study_files import read_study
from deepsight.config import RunConfig, run_config
from deepsight.counting import cost_of
from deepsight.errors import UserError
from deepsight.loss import next_token_loss
from deepsight.trace import IGNORED, Trace
from deepsight.training.loop import Trainer
from reports.tables import configuration_differences
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import planned, study_data, write_study
from tests.runs import run_data, source_of, write_text


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)


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


def test_places_schedules_and_components_make_readable_names(text: Path, tmp_path: Path) -> None:
    schedule = {"start": 1.0, "schedule": "linear_decay", "share": 0.5}
    factors = {
        "objective": [{"name": "future_context", "n": 3}],
        "objective.attach": [{"layer": 1}],
        "objective.coefficient": [schedule, 0.3],
    }
    data = study_data(text)
    data["factors"] = factors
    plan = planned(write_study(tmp_path / "study.yaml", data))
    first, second = plan.study.arms[:2]
    start = "objective=future_context(n=3), attach=layer 1, coefficient="
    assert [first.name, second.name] == [f"{start}1 → 0 (linear_decay over 0.5)", f"{start}0.3"]
    assert first.settings["objective.attach"] == {"layer": 1}
    assert first.settings["objective.coefficient"] == schedule


def test_a_coefficient_that_is_none_is_refused_and_not_stumbled_over(text: Path, tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", study_data(text, factors={"objective.coefficient": [{"start": "x"}]}))
    with pytest.raises(UserError, match=r"coefficient\.start"):
        planned(file)


def test_leave_one_out_takes_one_factor_at_a_time_from_the_first_values(text: Path, tmp_path: Path) -> None:
    factors = {"objective.n": [5, 7], "objective.merge": ["equal", "future_only"], "model.heads": [1]}
    data = study_data(text, design="leave_one_out") | {"factors": factors}
    del data["arms"], data["reference"]
    plan = planned(write_study(tmp_path / "study.yaml", data))
    assert [arm.name for arm in plan.study.arms] == ["full", "n=7", "merge=future_only"]
    assert plan.study.reference == "full"
    full = {"objective.n": 5, "objective.merge": "equal", "model.heads": 1}
    assert plan.study.arm("full").settings == full
    assert plan.study.arm("n=7").settings == full | {"objective.n": 7}


def test_an_arm_called_full_is_no_reference_of_a_grid(text: Path, tmp_path: Path) -> None:
    data = study_data(text)
    data["arms"] = {"full": {}, "plain": {"objective": "none"}}
    del data["reference"]
    with pytest.raises(UserError, match="the key 'reference' must name the arm to compare with"):
        planned(write_study(tmp_path / "study.yaml", data))


def test_leave_one_out_needs_factors(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"design: leave_one_out needs factors"):
        planned(write_study(tmp_path / "study.yaml", study_data(text, design="leave_one_out")))


def test_cells_that_break_a_constraint_are_left_out_with_the_reason(text: Path, tmp_path: Path) -> None:
    factors = {"model.layers": [[1, 1], [1, 2], [2, 1]], "objective.n": [3, 5]}
    data = study_data(text, factors=factors, where="model.layers.sum == 3 or objective.n == 3")
    plan = planned(write_study(tmp_path / "study.yaml", data))
    assert [cell.name for cell in plan.study.skipped] == ["layers=[1,1], n=5"]
    reason = "not model.layers.sum == 3 or objective.n == 3: model.layers.sum is 2, objective.n is 5"
    assert plan.study.skipped[0].reason == reason
    assert len(plan.study.arms) == 5 + 2
    notes = " ".join(configuration_differences(plan.study, pd.DataFrame()).notes)
    assert f"layers=[1,1], n=5: left out, {reason}" in notes


def test_a_constraint_may_leave_out_what_would_be_no_run(text: Path, tmp_path: Path) -> None:
    """An objective without an aggregator cannot have one set; such a cell is an error only where it stays in."""
    factors = {"objective": ["future_context", "bag_of_words"], "objective.aggregator": ["decay", "average"]}
    data = study_data(text) | {"factors": factors}
    with pytest.raises(UserError, match="aggregator"):
        planned(write_study(tmp_path / "study.yaml", data))
    data["where"] = ["objective == future_context"]
    plan = planned(write_study(tmp_path / "study.yaml", data))
    assert [cell.name for cell in plan.study.skipped] == [
        f"objective=bag_of_words, aggregator={name}" for name in ("decay", "average")
    ]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("model.layers.sum = 4", r"study\.yaml: where\.0: 'model\.layers\.sum = 4' cannot be read"),
        ("modle.layers.sum == 4", r"study\.yaml: where\.0: no run of this study has a key 'modle\.layers\.sum'"),
        ("model.layers + 1 == 4", r"study\.yaml: where\.0: .* cannot be decided where model\.layers is \[1, 1\]"),
        ("objective.n == 3", r"study\.yaml: where: the reference 'n=5' is left out: not objective\.n == 3"),
    ],
)
def test_a_constraint_that_does_not_fit_is_one_sentence(text: Path, tmp_path: Path, where: str, said: str) -> None:
    data = study_data(text, factors={"objective.n": [3, 5]}, where=where, reference="n=5")
    with pytest.raises(UserError, match=said):
        planned(write_study(tmp_path / "study.yaml", data))


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


CONTROL = {"model": {"architecture": {"name": "canonical", "prefix": 6}}, "objective": "none"}
NOTE = "evaluated from position 6 of each window on, the first that every arm predicts"


def test_arms_are_evaluated_at_the_positions_that_all_predict(text: Path, tmp_path: Path) -> None:
    later = {"evaluation": {"first_position": 9}}
    data = study_data(text, arms={"control": CONTROL, "later": later, "early": {"evaluation.first_position": 2}})
    plan = planned(write_study(tmp_path / "study.yaml", data))
    arms = {arm.name: arm for arm in plan.study.arms}
    firsts = {name: arm.config["evaluation"]["first_position"] for name, arm in arms.items()}
    assert firsts == {"plain": 6, "future": 6, "control": 6, "later": 9, "early": 6}
    assert arms["plain"].notes == arms["future"].notes == arms["control"].notes == [NOTE]
    assert arms["later"].notes == []
    assert arms["early"].notes == [NOTE, "means the same run as 'future' and shares its trials"]
    for trial in plan.trials:
        assert trial.config.evaluation.first_position == firsts[trial.arm]
    # Nothing but the evaluation differs from the same study without the control.
    alone = planned(write_study(tmp_path / "alone.yaml", study_data(text))).study
    for name in ("plain", "future"):
        config = {**arms[name].config, "evaluation": alone.arm(name).config["evaluation"]}
        assert config == alone.arm(name).config
        assert alone.arm(name).notes == []
        assert alone.arm(name).config["evaluation"]["first_position"] == 0


def test_the_latest_of_several_prefixes_counts(text: Path, tmp_path: Path) -> None:
    base = {"model.architecture": "canonical", "objective": "none"}
    factors = {"model.architecture.prefix": [3, 11]}
    data = study_data(
        text, factors=factors, **{f"base__{key.replace('.', '__')}": value for key, value in base.items()}
    )
    del data["arms"]
    plan = planned(write_study(tmp_path / "study.yaml", {**data, "reference": "prefix=3"}))
    found = [(arm.config["model"]["architecture"]["prefix"], arm.config["evaluation"]) for arm in plan.study.arms]
    assert [(prefix, evaluation["first_position"]) for prefix, evaluation in found] == [(3, 11), (11, 11)]


def test_arms_that_predict_no_position_in_common_are_named(text: Path, tmp_path: Path) -> None:
    data = study_data(text, arms={"control": CONTROL, "short": {"model.context": 6}})
    said = r"arms\.short\.model\.context: another arm predicts from position 6 on only, and a context of 6 ends there: "
    with pytest.raises(UserError, match=said):
        planned(write_study(tmp_path / "study.yaml", data))


@pytest.mark.parametrize("first", [16, 40])
def test_an_evaluation_of_nothing_is_an_error(first: int) -> None:
    said = rf"evaluation.first_position: a context of 16 has no position {first}; the last is 15"
    with pytest.raises(UserError, match=said):
        run_config(run_data(Path("unread"), evaluation__first_position=first))


def test_arms_of_one_study_are_measured_at_the_same_targets(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both arms run; which targets counted is seen at the loss, and the numbers equal a loop over positions."""
    counted: dict[str, list[int]] = {}

    def watched(trace: Trace) -> torch.Tensor:
        counted[arm] += trace.targets[trace.targets != IGNORED].tolist()
        return next_token_loss(trace)

    monkeypatch.setattr("deepsight.evaluation.losses.next_token_loss", watched)
    data = study_data(text, arms={"control": CONTROL}, seeds=1, base__training__steps=1)
    plan = planned(write_study(tmp_path / "study.yaml", data))
    windows: dict[str, Tensor] = {}
    for trial in plan.trials:
        arm, config = trial.arm, trial.config
        counted[arm] = []
        source = source_of(config)
        trainer = Trainer(config, source, tmp_path / arm)
        found = trainer.run()
        assert found is not None
        batches = list(source.windows(context=16, count=8).batches(8))
        windows[arm] = batches[0].targets
        nats, text_bytes, tokens = 0.0, 0.0, 0
        for inputs, targets, _ in batches:
            logits = trainer.model.logits(inputs).detach().double()
            skipped = 16 - logits.shape[1]
            assert skipped == (6 if arm == "control" else 0)
            for row in range(8):
                for position in range(6, 16):
                    target = int(targets[row, position])
                    nats -= float(logits[row, position - skipped].log_softmax(-1)[target])
                    text_bytes += float(source.token_bytes()[target])
                    tokens += 1
        assert tokens == 80
        assert found["validation_loss"] == pytest.approx(nats / tokens, rel=1e-5)
        assert found["bits_per_byte"] == pytest.approx(nats / text_bytes / math.log(2), rel=1e-5)
    assert counted.keys() == {"plain", "future", "control"}
    for arm, targets in counted.items():
        assert targets == counted["plain"], arm
        # Before the first step and after the last.
        assert sorted(targets) == sorted(2 * windows[arm][:, 6:].flatten().tolist())


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


def test_the_reference_is_matched_to_the_base_and_the_others_to_the_reference(text: Path, tmp_path: Path) -> None:
    """The reference is twice as wide as the base, so that an arm matched to the wrong one is told."""
    wide = {"model": {"width": 32, "heads": 4}, "objective": "none"}
    baseline = {"model": {"architecture": "baseline", "match": "parameters"}, "objective": "none"}
    data = study_data(text) | {"arms": {"small": baseline, "wide": wide}}
    to_wide = planned(write_study(tmp_path / "study.yaml", data | {"reference": "wide"})).study
    to_base = planned(write_study(tmp_path / "study.yaml", data | {"reference": "small"})).study
    base = to_base.arm("wide").inference_parameters
    assert to_wide.arm("small").inference_parameters == pytest.approx(base, rel=0.01)
    assert f"of 'wide': {to_wide.arm('small').inference_parameters:,} (" in to_wide.arm("small").notes[0]
    assert to_wide.arm("wide").notes == []
    plain = planned(write_study(tmp_path / "study.yaml", study_data(text))).study.arm("plain").inference_parameters
    assert to_base.arm("small").inference_parameters == pytest.approx(plain, rel=0.01) != pytest.approx(base, rel=0.3)
    assert "of 'base': " in to_base.arm("small").notes[0]
    assert to_base.arm("small").settings["model.match"] == "parameters"


def test_budgets_are_matched_to_the_reference_after_the_model_is(text: Path, tmp_path: Path) -> None:
    measured: list[RunConfig] = []

    def seconds(config: RunConfig) -> float:
        measured.append(config)
        return 1e-3 * config.model.width

    tiny = {"by": "parameters", "solve": "width", "within": 0.2}
    arms = {
        "plain": {"objective": "none", "training.steps": 30},
        "tokens": {"training": {"batch_size": 2, "match": "tokens"}},
        "time": {"model": {"layers": [2, 2], "match": tiny}, "training.match": "time"},
        "same": {"training.match": "none", "model.match": "none"},
    }
    file = write_study(tmp_path / "study.yaml", study_data(text) | {"arms": arms})
    study = plan_study(read_study(file), file, "", seconds_per_token=seconds).study
    assert study.arm("tokens").config["training"]["steps"] == 60
    solved = study.arm("time").config
    assert solved["model"]["width"] < 16
    assert solved["training"]["steps"] == round(30 * 16 / solved["model"]["width"])
    assert {config.model.width for config in measured} == {16, solved["model"]["width"]}
    starts = [note.partition(", solved to match ")[0] for note in study.arm("time").notes]
    assert starts[0].startswith(f"width {solved['model']['width']} with ")
    assert starts[1] == f"{solved['training']['steps']} steps"
    assert study.arm("time").settings["model.match"] == tiny
    assert study.arm("same").config["training"]["steps"] == 12


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"training": {"match": "tokns"}}, "arms.x.training.match: unknown value 'tokns'; did you mean 'tokens'?"),
        ({"training": {"match": "tokens", "steps": 5}}, "arms.x.training.steps: match solves the steps: leave it out"),
        ({"training.match": ["tokens"]}, r"arms.x.training.match: unknown value \['tokens'\]"),
        ({"model.match": {"by": "flop"}}, "arms.x.model.match.by: unknown value 'flop'; did you mean 'flops'?"),
        (
            {"model": {"feed_forward": 9, "match": {"by": "parameters", "solve": "feed_forward"}}},
            "arms.x.model.feed_forward: match solves the feed-forward: leave it out here",
        ),
        (
            {"model": {"layers": [9, 9], "match": {"by": "parameters", "solve": "feed_forward"}}},
            "arms.x.model.match: nothing",
        ),
    ],
)
def test_a_match_that_cannot_be_is_one_sentence(text: Path, tmp_path: Path, arm: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(write_study(tmp_path / "study.yaml", study_data(text, arms__x=arm)))


def test_what_an_arm_costs_is_counted_from_its_own_run(text: Path, tmp_path: Path) -> None:
    """Also where another arm has the same shape, and where a run of that shape was counted before."""
    data = study_data(text) | {"arms": {"plain": {"objective": "none"}, "faster": {"objective": "none"}, "future": {}}}
    data["arms"]["faster"]["training.learning_rate"] = 0.5
    data["base"]["objective"]["predictor"] = "linear"
    file = write_study(tmp_path / "study.yaml", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablations.assembling.known_cost", known_cost)
        plans = [planned(file), planned(file)]
    for plan in plans:
        configs = {trial.arm: trial.config for trial in plan.trials}
        assert plan.costs == {name: cost_of(configs[name]) for name in ("plain", "faster", "future")}
        assert plan.study.arm("future").training_parameters == plan.costs["future"].training_only > 16 * 16
        assert plan.study.arm("future").flops_per_token == plan.costs["future"].training_flops_per_token
    assert plans[0].costs["future"] != plans[0].costs["plain"] == plans[0].costs["faster"]


def test_a_study_of_too_many_trials_is_refused_before_any_is_made(text: Path, tmp_path: Path) -> None:
    factors = {"objective.n": list(range(1, 150)), "training.steps": list(range(1, 150))}
    with pytest.raises(UserError, match=r"study\.yaml: factors: the factors make 22,201 cells; the most are 10,000"):
        planned(write_study(tmp_path / "study.yaml", study_data(text, factors=factors)))
    factors = {"training.steps": list(range(1, 1000))}
    data = study_data(text, factors=factors, seeds=1000) | {"arms": {}}
    with pytest.raises(UserError, match=r"a study of 999,000 trials is too large; the most are 100,000"):
        planned(write_study(tmp_path / "study.yaml", data | {"reference": "steps=1"}))
    with pytest.raises(
        UserError, match=r"there is no arm 'steps=1000'; of 999 the nearest are steps=100, [^,]*, [^,]*$"
    ):
        planned(write_study(tmp_path / "study.yaml", data | {"reference": "steps=1000"}))
