"""Tuned values: every arm's grid, what is chosen from it, and the plans before and after."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.plan import Outcome, Plan, plan_study
from ablations.study import Study
from ablations.study_files import read_study
from ablations.tuning import choose, edge_notes, grid
from deepsight.errors import UserError
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import study_data, write_study
from tests.runs import write_text

RATES = [0.001, 0.003, 0.01]
Outcomes = Callable[[str], Outcome]


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


def tuned(folder: Path, text: Path, **changes: Any) -> Callable[..., Plan]:
    """Return a function that plans a small study with tuned learning rates, given outcomes."""
    data = study_data(text) | {"tune": {"training.learning_rate": RATES}, **changes}
    file = write_study(folder / "study.yaml", data)
    study: Study = read_study(file)
    return lambda outcomes=lambda _: "pending": plan_study(study, file, "", outcomes)


def losses(plan: Plan, table: dict[tuple[str, float], Outcome]) -> Outcomes:
    """Return outcomes by arm and learning rate; 1 is added for each seed above 2."""
    found: dict[str, Outcome] = {}
    for arm in plan.study.arms:
        for one in arm.candidates:
            for seed, trial in one.trials.items():
                said = table.get((arm.name, one.settings["training.learning_rate"]), "pending")
                found[trial] = said if isinstance(said, str) else said + seed - 2
    return lambda trial: found.get(trial, "pending")


def rates(plan: Plan) -> dict[str, set[float]]:
    """Return arm → learning rates of its trials that are compared."""
    compared = {trial: arm.name for arm in plan.study.arms for trial in arm.trials.values()}
    found: dict[str, set[float]] = {}
    for trial in plan.trials:
        if trial.id in compared:
            found.setdefault(trial.arm, set()).add(trial.config.training.learning_rate)
    return found


def test_every_arm_is_given_the_same_grid_on_the_same_seeds_apart(text: Path, tmp_path: Path) -> None:
    plan = tuned(tmp_path, text, tuning_seeds=2)()
    assert plan.tuning_pending
    assert not plan.is_complete
    assert [arm.trials for arm in plan.study.arms] == [{}, {}]
    for arm in plan.study.arms:
        assert [one.settings for one in arm.candidates] == [{"training.learning_rate": rate} for rate in RATES]
        assert [list(one.trials) for one in arm.candidates] == [[2, 3]] * 3
        assert not any(one.chosen for one in arm.candidates)
        assert arm.config["training"]["learning_rate"] == 0.01
    order = [(trial.arm, trial.config.training.learning_rate, trial.config.seed) for trial in plan.trials]
    assert order == list(itertools.product(["plain", "future"], RATES, [2, 3]))
    assert plan.trials[2].candidate == "training.learning_rate 0.003"
    assert (plan.waiting, plan.to_come) == ({"plain", "future"}, 4)


def test_an_arm_takes_the_lowest_mean_and_waits_for_no_other(text: Path, tmp_path: Path) -> None:
    make = tuned(tmp_path, text, tuning_seeds=[7, 2])
    first = make()
    table: dict[tuple[str, float], Outcome] = {("plain", 0.001): 4.0, ("plain", 0.003): 3.5, ("plain", 0.01): 3.75}
    one = make(losses(first, table | {("future", 0.001): 3.0}))
    assert rates(one) == {"plain": {0.003}}
    assert [candidate.chosen for candidate in one.study.arm("plain").candidates] == [False, True, False]
    assert not any(candidate.chosen for candidate in one.study.arm("future").candidates)
    assert one.study.arm("plain").config["training"]["learning_rate"] == 0.003
    assert one.study.arm("plain").notes == []
    assert list(one.study.arm("plain").trials) == [0, 1]
    assert (one.waiting, one.to_come) == ({"future"}, 2)
    # What is done stays part of the plan, and goes first.
    assert [trial.id for trial in one.trials[: len(first.trials)]] == [trial.id for trial in first.trials]
    both = make(losses(first, table | {("future", 0.001): 3.0, ("future", 0.003): "failed", ("future", 0.01): 3.1}))
    assert both.is_complete
    assert rates(both) == {"plain": {0.003}, "future": {0.001}}
    assert both.study.arm("plain") == one.study.arm("plain")
    edge = "training.learning_rate 0.001 is the smallest value of the grid; a wider one may do better"
    assert both.study.arm("future").notes == [edge]
    seeds = [trial.config.seed for trial in both.trials if not trial.candidate]
    assert seeds == [0, 0, 1, 1]


def test_the_chosen_run_is_the_run_that_has_these_values_written(text: Path, tmp_path: Path) -> None:
    make = tuned(tmp_path, text)
    chosen = make(losses(make(), {(arm, rate): rate for arm in ("plain", "future") for rate in RATES}))
    file = write_study(tmp_path / "plain.yaml", study_data(text, base__training__learning_rate=0.001))
    written = plan_study(read_study(file), file, "").study
    assert [arm.trials for arm in chosen.study.arms] == [arm.trials for arm in written.arms]


def test_an_arm_whose_candidates_all_fail_has_no_trials_and_stops_nothing(text: Path, tmp_path: Path) -> None:
    make = tuned(tmp_path, text, control=True)
    table: dict[tuple[str, float], Outcome] = {("plain", rate): "failed" for rate in RATES}
    table |= {("future", rate): math.nan if rate < 0.01 else 9.0 for rate in RATES}
    plan = make(losses(make(), table))
    assert plan.is_complete
    assert rates(plan) == {"future": {0.01}}
    assert plan.study.arm("plain").trials == plan.study.arm("A/A control").trials == {}
    assert plan.study.arm("plain").notes == ["has no trials: each candidate for its tuned values failed"]


def test_the_control_takes_the_values_of_the_reference(text: Path, tmp_path: Path) -> None:
    make = tuned(tmp_path, text, control=True)
    first = make()
    control = first.study.arm("A/A control")
    assert (control.candidates, control.trials) == ([], {})
    assert (first.waiting, first.to_come) == ({"plain", "future", "A/A control"}, 6)
    plan = make(losses(first, {("plain", rate): -rate for rate in RATES}))
    assert rates(plan) == {"plain": {0.01}, "A/A control": {0.01}}
    assert plan.waiting == {"future"}


def test_arms_that_mean_the_same_share_their_tuning(text: Path, tmp_path: Path) -> None:
    data = study_data(text)["arms"] | {"again": {"objective": "future_context", "objective.n": 3}}
    make = tuned(tmp_path, text, arms=data)
    first = make()
    arms = {arm.name: arm for arm in first.study.arms}
    assert arms["again"].candidates == arms["future"].candidates != arms["plain"].candidates
    assert arms["again"].notes == ["means the same run as 'future' and shares its trials"]
    assert (len(first.trials), first.to_come) == (2 * 3, 2 * 2)
    plan = make(losses(first, {(arm, rate): rate for arm in arms for rate in RATES}))
    assert plan.study.arm("again").trials == plan.study.arm("future").trials
    assert len(plan.trials) == 2 * 3 + 2 * 2


def test_a_match_aims_at_the_reference_with_the_same_values(text: Path, tmp_path: Path) -> None:
    """Else a batch size that is tuned would give an arm more tokens than another on one seed."""
    arms = {"plain": {"objective": "none"}, "long": {"model.context": 8, "training.match": "tokens"}}
    plan = tuned(tmp_path, text, arms=arms, tune={"training.batch_size": [2, 8]})()
    sizes = {trial.config.training.batch_size: trial.config.training.steps for trial in plan.trials[2:]}
    assert sizes == {2: 24, 8: 24}


OUTCOME = st.one_of(st.just("failed"), st.sampled_from([1.0, 2.0, 3.0, math.nan, math.inf]))


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(OUTCOME, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_the_choice_is_that_of_a_naive_search(outcomes: list[list[Outcome]]) -> None:
    best, lowest = None, math.inf
    for position, trials in enumerate(outcomes):
        if all(isinstance(loss, float) and math.isfinite(loss) for loss in trials):
            total = sum(loss for loss in trials if isinstance(loss, float))
            if total < lowest:
                best, lowest = position, total
    assert choose(outcomes) == best
    assert choose([*outcomes, ["failed", "pending"]]) == "pending"


def test_the_grid_is_the_product_in_the_order_written() -> None:
    assert grid({}) == []
    assert grid({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"^tune: the grid has 1,001 points; the most are 1,000$"):
        grid({"a": list(range(7)), "b": list(range(11)), "c": list(range(13))})


def test_only_numbers_have_an_edge() -> None:
    tune = {"rate": [0.1, 0.3, 0.2], "merge": ["equal", "future_only"], "n": [3], "affine": [True, False]}
    found = edge_notes(tune, {"rate": 0.3, "merge": "equal", "n": 3, "affine": True})
    assert found == ["rate 0.3 is the largest value of the grid; a wider one may do better"]
    assert edge_notes(tune, {"rate": 0.2, "merge": "equal", "n": 3, "affine": True}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tuning_seeds": [1, 5]}, "tuning_seeds: the seed 1 compares the arms and cannot choose their values"),
        ({"tuning_seeds": 0}, "tuning_seeds: at least one seed is needed, not 0"),
        ({"tuning_seeds": [7, 7]}, "tuning_seeds: the seeds must be different numbers"),
        ({"tuning_seeds": "two"}, "tuning_seeds: "),
        ({"tune": {"training": {"learning_rate": []}}}, "tune.training.learning_rate: "),
        ({"tune": {"training.learning_rate": [0.1, 0.1]}}, "tune.training.learning_rate: the values must differ"),
        ({"tune": {"seed": [1, 2]}}, "tune.seed: seed holds for all arms alike and cannot be tuned"),
        ({"tune": {"data.validation_fraction": [0.1, 0.2]}}, "tune.data.validation_fraction: data.validation_fraction"),
        ({"tune": {"model.match": ["flops"]}}, "tune.model.match: model.match holds for all arms alike"),
        (
            {"tune": {"training.learning_rat": [0.1]}},
            "tune: the arm 'plain' cannot have training.learning_rat 0.1: training: unknown key 'learning_rat'; did",
        ),
        ({"tune": {"training.learning_rate": [0.1, -1]}}, "tune: the arm 'plain' cannot have training.learning_rate"),
        ({"tune": {"objective.n": [3, 4]}}, "tune: the arm 'plain' cannot have objective.n 3: "),
        ({"factors": {"training.learning_rate": [0.1]}}, "factors: training.learning_rate is tuned in every arm"),
        ({"arms": {"plain": {"training": {"learning_rate": 0.1}}}}, "arms.plain: training.learning_rate is tuned in"),
        (
            {"tune": {"objective.coefficient": [1.0]}, "arms": {"plain": {"objective": [{"name": "bag_of_words",
             "coefficient": 2.0}]}}},
            "arms.plain: objective.coefficient is tuned in every arm: leave it out here",
        ),
        (
            {"groups": {"g": {"base": {"training.learning_rate": 0.1}, "arms": {"x": {}}}}},
            "groups.g.base: training.learning_rate is tuned in every arm: leave it out here",
        ),
        (
            {"tune": {"training.steps": [3]}, "arms": {"plain": {}, "x": {"training.match": "tokens"}}},
            "tune: the arm 'x' cannot have training.steps 3: training.steps: match solves the steps: leave it out here",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_one_sentence(text: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        tuned(tmp_path, text, **changes)()
    assert str(caught.value).removeprefix(f"{tmp_path / 'study.yaml'}: ").startswith(said)


def test_a_component_without_the_tuned_key_leaves_it_to_the_grid(text: Path, tmp_path: Path) -> None:
    arms = {"plain": {"objective": "bag_of_words"}, "future": {"objective": [{"name": "future_context"}]}}
    plan = tuned(tmp_path, text, arms=arms, tune={"objective.coefficient": [0.1, 0.2]})()
    assert [trial.config.objective[0]["coefficient"] for trial in plan.trials] == [0.1, 0.2] * 2
