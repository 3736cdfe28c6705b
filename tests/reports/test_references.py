"""Studies of several tasks: whom an arm is compared with, and that nothing is ever compared across tasks."""

from __future__ import annotations

import functools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ablations.stored import StoredStudy
from deepsight.errors import UserError
from reports.comparisons import Comparison, compare, controls, hypotheses
from reports.finding import find
from reports.frames import complete_curves, complete_trials
from reports.main_table import main_table
from reports.planning import seeds_needed
from reports.references import arms_by_task, compared_with, not_compared, notes_on_tasks, references
from reports.statistics import Verdict, t_interval
from reports.success import compare_successes, successes
from reports.table import Table
from reports.table_formats import to_csv
from reports.task_finding import tell
from reports.task_study import task_study
from reports.task_table import task_table
from tests.reports import synthetic

Frames = tuple[StoredStudy, pd.DataFrame, pd.DataFrame]
PAIRS = {
    "bag of words": "next token",
    "large, multi-token": "large, next token",
    "large, dropout": "large, next token",
    "large, bag of words": "large, next token",
}
"""Arm → reference in the synthetic study; the large next-token arm is not the first of its task."""


@functools.cache
def frames(seeds: int = 5) -> Frames:
    return synthetic.several_tasks(seeds)


def without(study: StoredStudy, *names: str) -> StoredStudy:
    return study.model_copy(update={"arms": [arm for arm in study.arms if arm.name not in names]})


def losses_of(trials: pd.DataFrame, arm: str) -> np.ndarray:
    return trials.loc[trials["arm"] == arm, "validation_loss"].to_numpy(dtype=np.float64)


def column(table: Table, title: str) -> dict[str, str]:
    place = [column.title for column in table.columns].index(title)
    return {row[0].text: row[place].text for row in table.rows}


def found_table(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Table:
    found = task_study(study, trials, curves, compare(study, trials))
    assert found is not None
    return task_table(found)


def test_an_arm_is_compared_within_its_task() -> None:
    study, _, _ = frames()
    assert compared_with(study) == PAIRS
    assert references(study) == ["next token", "large, next token"]
    assert not_compared(study) == ["lonely"]
    assert [len(arms) for arms in arms_by_task(study)] == [2, 4, 1]


def test_a_task_without_a_plain_arm_has_no_reference() -> None:
    study = without(frames()[0], "large, next token", "large, dropout")
    assert compared_with(study) == {"bag of words": "next token"}
    assert references(study) == ["next token"]
    assert not_compared(study) == ["large, multi-token", "large, bag of words", "lonely"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=9),
    st.integers(0, 8),
)
def test_whom_an_arm_is_compared_with_is_what_a_naive_search_finds(arms: list[tuple[int, bool]], place: int) -> None:
    names = [f"arm {position}" for position in range(len(arms))]
    reference = names[place % len(names)]
    objectives = ["none" if plain else "x" for _, plain in arms]
    settings = {name: {"n": name, "objective": objective} for name, objective in zip(names, objectives, strict=True)}
    study = synthetic.study_of(settings, reference, 1)
    study = synthetic.learning(study, {name: task for name, (task, _) in zip(names, arms, strict=True)})
    expected: dict[str, str] = {}
    for name, (task, _) in zip(names, arms, strict=True):
        same = [other for other, (others, _) in zip(names, arms, strict=True) if others == task]
        plain = [other for other, (others, plain) in zip(names, arms, strict=True) if others == task and plain]
        of = reference if reference in same else plain[0] if plain else name
        if of != name:
            expected[name] = of
    assert list(compared_with(study).items()) == list(expected.items())
    assert set(references(study)) == {reference, *expected.values()}
    assert sorted([*expected, *references(study), *not_compared(study)]) == sorted(names)


def test_text_and_studies_of_one_task_have_one_reference() -> None:
    study, _, _ = synthetic.four_arms()
    assert set(compared_with(study).values()) == {"baseline"}
    texts = [
        arm.model_copy(update={"config": {"data": {"corpus": {"name": f"text {place}"}}, "objective": []}})
        for place, arm in enumerate(study.arms)
    ]
    study = study.model_copy(update={"arms": texts})
    assert set(compared_with(study).values()) == {"baseline"}
    assert not list(notes_on_tasks(study))
    one = synthetic.planning()
    same = synthetic.learning(one[0], {arm.name: 2 for arm in one[0].arms})
    for make in (found_table, lambda *of: main_table(*of[:2], compare(*of[:2]))):
        tables = [make(study, *one[1:]) for study in (one[0], same)]
        assert tables[0].rows == tables[1].rows
        assert (tables[0].caption, tables[0].notes) == (tables[1].caption, tables[1].notes)
        assert to_csv(tables[0]) == to_csv(tables[1])


def test_differences_are_taken_within_a_task_and_adjusted_over_all_of_the_study() -> None:
    study, trials, _ = frames(6)
    found = compare(study, trials)
    assert {arm: comparison.pairs.reference for arm, comparison in found.items()} == PAIRS
    p_values = []
    for arm, reference in PAIRS.items():
        differences = losses_of(trials, arm) - losses_of(trials, reference)
        comparison = found[arm]
        assert comparison.pairs.differences == pytest.approx(differences, rel=1e-12)
        assert (comparison.low, comparison.high) == pytest.approx(t_interval(differences), rel=1e-9)
        assert comparison.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-9)
        assert comparison.family == 4
        p_values.append(comparison.p)
    adjusted = multipletests(p_values, method="holm")[1]
    assert [comparison.p_adjusted for comparison in found.values()] == pytest.approx(adjusted, rel=1e-9)
    assert [str(comparison.verdict) for comparison in found.values()] == ["better", "better", "undecided", "worse"]
    assert [comparison.arm for comparison in hypotheses(found)] == list(PAIRS)


def test_the_control_stands_apart_and_is_of_the_studys_reference() -> None:
    study, trials, _ = frames()
    arms = [arm.model_copy(update={"control": arm.name == "bag of words"}) for arm in study.arms]
    found = compare(study.model_copy(update={"arms": arms}), trials)
    (control,) = controls(found)
    assert (control.arm, control.pairs.reference, control.family) == ("bag of words", "next token", 1)
    assert {comparison.family for comparison in hypotheses(found)} == {3}


def test_accuracies_too_are_compared_within_a_task() -> None:
    study, trials, curves = frames(6)
    found = successes(study, complete_trials(study, trials), complete_curves(study, curves), "full_path")
    differences = compare_successes(study, found, compare(study, trials))
    assert {arm: difference.reference for arm, difference in differences.items()} == PAIRS
    assert {difference.family for difference in differences.values()} == {4}
    for arm, reference in PAIRS.items():
        expected = found[arm].accuracies - found[reference].accuracies
        assert differences[arm].differences == pytest.approx(expected, rel=1e-12)
    p_values = [difference.p for difference in differences.values()]
    assert p_values == pytest.approx([2 / 64, 2 / 64, 1, 1])
    adjusted = multipletests(p_values, method="holm")[1]
    assert [difference.p_adjusted for difference in differences.values()] == pytest.approx(adjusted)


def test_tables_say_whom_an_arm_is_compared_with() -> None:
    study, trials, curves = frames()
    main, tasks = main_table(study, trials, compare(study, trials)), found_table(study, trials, curves)
    expected = PAIRS | {"next token": "reference", "large, next token": "reference", "lonely": "–"}
    for table in (main, tasks):
        assert column(table, "compared with") == expected
        assert table.caption.endswith("beside the reference of its task.")
        data = table.data.set_index("arm")
        assert data["compared_with"].dropna().to_dict() == PAIRS
        assert data.index[data["is_reference"]].tolist() == references(study)
        assert data.loc[[*references(study), "lonely"], "difference_mean"].isna().all()
        assert any(
            "The arms learn 3 tasks" in note and "“next token”, or else the first arm of the task" in note
            for note in table.notes
        )
        assert any(note.startswith("“lonely” learned another task than any reference") for note in table.notes)
    verdicts = column(main, "verdict")
    assert verdicts["lonely"] == Verdict.OTHER_TASK == main.data.set_index("arm").loc["lonely", "verdict"]
    assert [verdicts[name] for name in references(study)] == ["reference", "reference"]
    assert column(main, "validation loss")["lonely"].startswith("5.4")
    assert column(tasks, "solved [95 % interval]")["lonely"] == "5/5 [57 %, 100 %]"


def test_each_task_has_its_best_arm_in_bold() -> None:
    study, trials, _ = frames()
    main = main_table(study, trials, compare(study, trials))
    assert [row[0].text for row in main.rows if row[0].strong] == ["bag of words", "large, multi-token"]


def test_without_a_reference_of_its_own_a_task_is_named_and_left_out() -> None:
    study, trials, curves = frames()
    study = without(study, "large, next token", "large, dropout")
    main = main_table(study, trials, compare(study, trials))
    assert "compared with" not in [column.title for column in main.columns]
    assert main.caption.endswith("beside the reference “next token”.")
    assert main.notes[-1] == (
        "“large, multi-token”, “large, bag of words” and “lonely” learned another task than the reference “next token” "
        "and are not compared: there is no other arm of their task without an objective."
    )
    assert list(column(main, "verdict").values()) == ["reference", "better", *["another task"] * 3]
    said = find(study, trials, compare(study, trials))
    assert said.headline == "“bag of words” is better than “next token”."
    assert main.notes[-1] in said.text
    assert tell(study, trials, curves, compare(study, trials)).headline == (
        "“bag of words” solves full path (≥ 95 %) in 5 of 5 seeds; the reference “next token” in 0 of 5."
    )


def test_the_finding_counts_and_names_only_what_is_compared() -> None:
    study, trials, curves = frames()
    said = find(study, trials, compare(study, trials))
    assert said.headline == (
        "Of 4 arms, each compared with the reference of its task, 2 are better, 1 worse and 1 undecided."
    )
    lonely = next(note for note in notes_on_tasks(study) if "lonely" in note)
    assert lonely in said.text
    assert "lonely" not in said.text.replace(lonely, "")
    assert "The references reached 0.408 ± 0.018 (“next token”, 5 seeds) and 2.405 ± 0.020 (“large, next" in said.text
    told = tell(study, trials, curves, compare(study, trials))
    assert told.headline == (
        "Of 4 arms with 5 seeds each, 2 solve full path (≥ 95 %) in every seed and 2 in no seed; of their 2 "
        "references 2 in no seed."
    )
    assert (
        "“bag of words” (5 of 5 [57 %, 100 %], after 80 steps) solve it in more seeds than the reference" in told.text
    )


def test_where_nothing_is_of_the_references_task_there_is_no_finding() -> None:
    study, trials, curves = frames()
    study = without(study, "bag of words", "large, next token", "large, dropout")
    said = find(study, trials, compare(study, trials))
    assert said.headline == "Nothing is compared: every arm but the reference “next token” learned another task."
    assert (
        tell(study, trials, curves, {}).headline
        == f"{said.headline} The reference solves full path (≥ 95 %) in 0 of 5."
    )
    with pytest.raises(UserError, match="no arm has two seeds that finished on both sides"):
        seeds_needed(study, trials, 0.01)


def test_no_seed_of_any_task_is_said_without_a_range_over_tasks() -> None:
    study, trials, curves = frames()
    never = curves.assign(**{"task:full_path/accuracy": curves["task:full_path/accuracy"].clip(upper=0.4)})
    headline = tell(study, trials, never, compare(study, trials)).headline
    assert headline == "No seed solves full path (≥ 95 %), whatever its task."


def test_references_alone_are_said_to_have_finished() -> None:
    study, trials, curves = frames()
    done = trials["arm"].isin(references(study))
    trials = trials[done]
    curves = curves[curves["arm"].isin(references(study))]
    assert tell(study, trials, curves, compare(study, trials)).headline == (
        "Only references have finished seeds: 2 solve full path (≥ 95 %) in no seed."
    )
    assert find(study, trials, compare(study, trials)).headline == (
        "There is no finding yet: no seed has finished in both an arm and the reference of its task."
    )


def test_a_plan_counts_the_arms_that_are_compared() -> None:
    study, trials, _ = frames()
    _, table = seeds_needed(study, trials.assign(seconds=30.0), 0.01)
    data = table.data.set_index("arm")
    for arm, reference in PAIRS.items():
        deviation = (losses_of(trials, arm) - losses_of(trials, reference)).std(ddof=1)
        assert data.loc[arm, "deviation"] == pytest.approx(deviation, rel=1e-9)
    assert data.loc[[*references(study), "lonely"], "deviation"].isna().all()
    assert any("for 4 comparisons" in note for note in table.notes)
    assert not any("Nothing is known of" in note for note in table.notes)


def comparison_of(arm: str, seeds: int = 5) -> Comparison:
    study, trials, _ = frames(seeds)
    return compare(study, trials)[arm]


def test_the_losses_of_another_task_do_not_reach_a_comparison() -> None:
    study, trials, _ = frames()
    before = comparison_of("bag of words")
    shifted = trials.assign(
        validation_loss=trials["validation_loss"] + np.where(trials["arm"] == "lonely", math.pi, 0.0)
    )
    after = compare(study, shifted)["bag of words"]
    assert (after.mean, after.p_adjusted) == (before.mean, before.p_adjusted)


def test_how_many_seeds_solve_it_is_held_against_the_own_reference() -> None:
    study, trials, curves = frames()
    large = curves["arm"] == "large, next token"
    solved = curves["task:full_path/accuracy"].where(~large, 0.99)
    said = tell(study, trials, curves.assign(**{"task:full_path/accuracy": solved}), compare(study, trials)).text
    assert "“bag of words” (5 of 5 [57 %, 100 %], after 80 steps) solves it in more seeds than the reference" in said
    assert "“large, multi-token” (5 of 5 [57 %, 100 %], after 80 steps) is not told from the reference" in said
    assert " solve it in fewer seeds than the reference" in said
