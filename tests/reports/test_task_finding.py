"""What the page says first of a study with a planning task, and what it must not say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from reports.comparisons import compare
from reports.finding import Finding, find
from reports.task_finding import tell
from reports.writing import write_report
from tests.reports import synthetic
from tests.reports.drawings import with_tasks

CLAIMS = ("better than", "worse than", "equivalent", "undecided", "exploratory")


def told(ends: dict[str, Sequence[bool]], *, options: dict[str, float] | None = None, control: str = "") -> Finding:
    """The finding of a study of which these seeds solve the task at step 120; the first arm is the reference."""
    names, seeds = list(ends), max(map(len, ends.values()))
    study = synthetic.study_of({name: {"objective.n": place} for place, name in enumerate(names)}, names[0], seeds)
    arms = [arm.model_copy(update={"control": arm.name == control}) for arm in study.arms]
    study = study.model_copy(update={"arms": arms})
    losses = {
        name: synthetic.seed_losses(4, -0.05 * place, seeds)[: len(ends[name])] for place, name in enumerate(names)
    }
    trials = synthetic.trials_of(study, losses)
    jumps = {name: [120 if solved else None for solved in ends[name]] for name in names}
    curves = synthetic.with_jumps(synthetic.curves_of(study, trials), jumps)
    return tell(study, trials, curves.assign(**options or {}), compare(study, trials))


def test_one_arm_that_solves_it() -> None:
    said = told({"base": [False] * 5, "arm": [True] * 5})
    assert said.headline == "“arm” solves full path (≥ 95 %) in 5 of 5 seeds; the reference “base” in 0 of 5."
    assert "compared by full path (the share that is right at the end of training" in said.text
    assert "The reference solves it in 0 of 5 seeds [0 %, 43 %], accuracy 20." in said.text
    assert "%, chance 20.0 %." in said.text
    assert (
        "“arm” (5 of 5 [57 %, 100 %], after 120 steps) solves it in more seeds than the reference, and the intervals "
        "do not overlap; 5 pairs are too few for a test."
    ) in said.text
    assert " p = " not in said.text


def test_arms_are_counted_by_how_many_of_their_seeds_solve_it() -> None:
    half = [True, True, False, False, False]
    said = told({"base": half, "a": [True] * 5, "b": half, "c": [False] * 5, "d": half})
    assert said.headline == (
        "Of 4 arms with 5 seeds each, 1 solves full path (≥ 95 %) in every seed, 2 in some seeds and 1 in no seed; the "
        "reference “base” in 2 of 5."
    )
    assert (
        "The reference solves it in 2 of 5 seeds [12 %, 77 %], after 120 steps. “a” (5 of 5 [57 %, 100 %], "
        in said.text
    )
    assert " are not told from the reference by so few seeds: the intervals overlap." in said.text
    assert "in more seeds" not in said.text


def test_where_no_seed_solves_it_the_means_are_said() -> None:
    said = told({"base": [False] * 5, "a": [False] * 5, "b": [False] * 5})
    assert said.headline.startswith("No seed solves full path (≥ 95 %): mean accuracies lie between ")
    assert said.headline.endswith(", and chance is 20.0 %.")
    assert "“" in said.headline


def test_eight_pairs_are_tested() -> None:
    some = [True] * 3 + [False] * 5
    said = told({"base": [False] * 8, "all": [True] * 8, "some": some})
    assert "“all” (8 of 8 [68 %, 100 %], after 120 steps, p = 0.016) solves it in more seeds than the reference." in (
        said.text
    )
    assert "“some” (3 of 8 [14 %, 69 %], after 120 steps, p = 0.25) is not told from the reference by the exact" in (
        said.text
    )
    assert "adjusted by Holm over 2 comparisons" in said.text
    fewer = told({"base": [True] * 8, "none": [False] * 8})
    assert "solves it in fewer seeds than the reference." in fewer.text


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5, 8])
def test_it_never_opens_with_a_verdict_on_the_loss(seeds: int) -> None:
    said = told({"base": [False] * seeds, "arm": [True] * seeds, "other": [False] * seeds})
    for claim in CLAIMS:
        assert claim not in f"{said.headline} {said.text}"
    assert "full path" in said.headline
    assert said.text.endswith("are on the validation loss, here that of the answers' tokens.")
    assert ("nothing follows from them" in said.text) == (seeds < 3)
    assert ("[" in said.text) == (seeds >= 3)


def test_copying_from_the_shown_answer_is_counted_by_seed() -> None:
    text = told({"base": [False] * 5, "arm": [True, True, False, False, False], "all": [True] * 5}).text
    assert (
        "Far better where the right answer so far is shown are 5 of 5 seeds of “base” and 3 of 5 seeds of “arm”: they "
        "copy from the answer instead of planning (Bachmann & Nagarajan, 2024)."
    ) in text
    assert "copy" not in told({"base": [True] * 5, "arm": [True] * 5}).text
    assert "copy" not in told({"base": [False] * 5}, options={"task:full_path_forced/accuracy": math.nan}).text


def test_the_control_is_no_arm_that_is_counted() -> None:
    said = told({"base": [False] * 5, "inert": [False] * 5, "arm": [True] * 5}, control="inert")
    assert said.headline.startswith("“arm” solves full path")
    assert "The A/A control “inert” (" in said.text


def test_what_has_not_finished_is_said() -> None:
    assert told({"base": [False] * 5, "arm": [True] * 5, "late": []}).headline == (
        "Of 2 arms with 5 seeds each, 1 solves full path (≥ 95 %) in every seed and 1 without a finished one; the "
        "reference “base” in 0 of 5."
    )
    assert "“late” has no seed that has finished on both sides." in told({"base": [True], "late": []}).text
    assert told({"base": [True, False], "late": []}).headline == (
        "Only the reference “base” has finished seeds: it solves full path (≥ 95 %) in 1 of 2."
    )
    assert told({"base": [], "arm": [True]}).headline == (
        "“arm” solves full path (≥ 95 %) in 1 of 1 seed; the reference “base” has no finished seed."
    )


def test_a_reference_alone_is_beside_nothing() -> None:
    said = told({"base": [True, False, True]})
    assert said.headline == "There is only the reference “base”: it solves full path (≥ 95 %) in 2 of 3."


def test_nothing_finished_is_no_finding() -> None:
    study, trials, curves = synthetic.planning()
    running = trials.assign(status="running")
    said = tell(study, running, curves, compare(study, running))
    assert said.headline == "There is no finding yet: no trial has finished."
    assert "compared by full path" in said.text
    cut = trials.assign(step=600)
    assert tell(study, cut, curves, compare(study, cut)).headline == (
        "There is no finding yet: no finished trial was measured at full path."
    )


def test_a_study_without_a_task_says_what_it_always_said() -> None:
    for study, trials, curves in (synthetic.four_arms(), synthetic.half_finished()):
        comparisons = compare(study, trials)
        assert tell(study, trials, curves, comparisons) == find(study, trials, comparisons)
        assert tell(study, trials, pd.DataFrame(), comparisons) == find(study, trials, comparisons)


def test_the_page_has_the_table_before_the_main_one_and_opens_with_the_task(tmp_path: Path) -> None:
    study, trials, curves = synthetic.planning()
    page = write_report(study, trials, curves, synthetic.records_of(trials), tmp_path).read_text()
    assert page.index('<table id="planning"') < page.index('<table id="main"')
    headline = page.partition('<p class="headline">')[2].partition("</p>")[0]
    assert headline.startswith("Of 2 arms with 5 seeds each, 1 solves full path")
    assert "bits per byte" not in page
    for ending in ("csv", "md", "tex", "html"):
        assert (tmp_path / "tables" / f"planning.{ending}").is_file()
    assert page.index('id="figure-task_accuracy"') < page.index('id="figure-task_curves"')


def test_a_page_without_a_task_has_no_such_table(half_finished_report: Path) -> None:
    page = (half_finished_report / "index.html").read_text()
    assert "planning" not in page
    assert "bits per byte" in page
    assert not list((half_finished_report / "tables").glob("planning*"))


@pytest.mark.parametrize("make", [synthetic.half_finished, synthetic.hostile, lambda: synthetic.four_arms(1)])
def test_narrow_studies_say_nothing_of_what_is_no_number(make) -> None:  # type: ignore[no-untyped-def]
    study, trials, curves = with_tasks(make)
    said = tell(study, trials, curves, compare(study, trials))
    assert "path-star" in said.headline
    assert "nan" not in f"{said.headline} {said.text}"
