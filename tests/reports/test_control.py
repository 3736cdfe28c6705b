"""The A/A control: no hypothesis, judged alone, and loud where it is found to differ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablations.stored import StoredStudy
from reports import statistics
from reports.comparisons import bit_equal_arms, compare
from reports.finding import find
from reports.main_table import main_table
from reports.pairing import pairing
from reports.statistics import Verdict
from reports.warnings import study_warnings
from tests.reports import synthetic

EFFECTS = {"good": -0.02, "same": 0.0005, "bad": 0.02}


def study_with(control: list[float], seeds: int = 5) -> tuple:  # type: ignore[type-arg]
    """A study of three arms and a control with these losses, the reference's being `reference(seeds)`."""
    names = ["base", "inert", *EFFECTS]
    study = synthetic.study_of(
        {name: {"objective.n": place} for place, name in enumerate(names)}, "base", seeds, margin=0
    )
    study = study.model_copy(
        update={"arms": [arm.model_copy(update={"control": arm.name == "inert"}) for arm in study.arms]}
    )
    losses = {name: synthetic.seed_losses(4, effect, seeds) for name, effect in EFFECTS.items()}
    return study, synthetic.trials_of(study, {"base": reference(seeds), "inert": control, **losses})


def reference(seeds: int = 5) -> list[float]:
    return synthetic.seed_losses(4, 0, seeds)


def shifted(by: float, spread: float = 0.001) -> list[float]:
    return [loss + by + spread * place for place, loss in enumerate(reference())]


def warnings_of(study: StoredStudy, trials) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    found = study_warnings(study, trials, trials.head(0)[["arm", "seed", "trial"]], compare(study, trials))
    return [(warning.kind, warning.text) for warning in found]


@pytest.mark.parametrize("control", [reference(), shifted(0.05)])
def test_it_is_no_part_of_the_family(control: list[float]) -> None:
    comparisons = compare(*study_with(control))
    assert list(comparisons) == ["inert", *EFFECTS]
    assert comparisons["inert"].family == 1
    assert comparisons["inert"].p_adjusted == comparisons["inert"].p
    others = [comparisons[name] for name in EFFECTS]
    assert {other.family for other in others} == {3}
    expected = statistics.holm([other.p for other in others])
    assert [other.p_adjusted for other in others] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("control", "verdict"), [(shifted(-0.05), "better"), (shifted(0.05), "worse")])
def test_a_control_that_differs_opens_the_page_and_is_never_the_best(control: list[float], verdict: str) -> None:
    study, trials = study_with(control)
    comparisons = compare(study, trials)
    assert comparisons["inert"].verdict == verdict
    trials.loc[trials["seed"] == 0, "batch_digest"] = None  # another grave warning
    (kind, text), *rest = warnings_of(study, trials)
    assert kind == "control"
    assert text.startswith("The A/A control “inert” differs from the reference (")
    assert "the comparison finds a difference where there is none" in text
    assert "control" not in [kind for kind, _ in rest]
    said = find(study, trials, comparisons)
    assert said.headline == "Of 3 arms compared with “base”, 1 is better, 1 worse and 1 undecided."
    assert "Planned: 3 arms and an A/A control beside the reference “base”" in said.text
    assert ") differs from the reference, as it should not." in said.text
    rows = {row[0].text: row for row in main_table(study, trials, comparisons).rows}
    assert rows["inert"][-1].text == f"control: {verdict}"
    assert [name for name, row in rows.items() if row[0].strong] == ["good"]


def test_a_difference_inside_the_margin_is_still_one_that_should_not_be() -> None:
    study, trials = study_with(shifted(0.001, 0.0001))
    study = study.model_copy(update={"equivalence_margin": 0.05})
    assert compare(study, trials)["inert"].verdict is Verdict.EQUIVALENT
    assert warnings_of(study, trials)[0][0] == "control"


def test_a_bit_equal_control_is_a_note_and_no_idle_knob() -> None:
    study, trials = study_with(reference())
    comparisons = compare(study, trials)
    assert bit_equal_arms(study, trials) == []
    assert warnings_of(study, trials) == []
    table = pairing(study, comparisons)
    assert table is not None
    assert table.notes[-1] == "The A/A control “inert” is bit-equal to the reference in all 5 seeds."
    text = find(study, trials, comparisons).text
    assert "The A/A control “inert” is bit-equal to the reference, as it should be." in text
    assert "knob does nothing" not in text


def test_an_arm_that_is_bit_equal_beside_the_control_is_still_an_idle_knob() -> None:
    study, trials = study_with(reference())
    trials.loc[trials["arm"] == "same", "validation_loss"] = reference()
    assert bit_equal_arms(study, trials) == [["base", "same"]]


def test_a_control_that_differs_in_bits_is_said_further_down() -> None:
    losses = reference()
    losses[1], losses[3] = np.nextafter(losses[1], 9), losses[3] - 2.5e-7
    study, trials = study_with(losses)
    trials.loc[(trials["arm"] == "good") & (trials["seed"] == 0), "batch_digest"] = None
    (first, _), (kind, text) = warnings_of(study, trials)
    assert (first, kind) == ("pairing", "control")
    assert text.startswith(
        "The A/A control “inert” is not bit-equal to the reference: 2 of 5 pairs differ, by at most 2.5 × 10⁻⁷ nats"
    )
    assert "expected" in text
    assert ") shows no difference." in find(study, trials, compare(study, trials)).text


def test_a_control_that_is_the_same_run_checks_nothing() -> None:
    study, trials = study_with(reference())
    base, control = study.arms[:2]
    arms = [base, control.model_copy(update={"trials": base.trials}), *study.arms[2:]]
    study = study.model_copy(update={"arms": arms})
    trials.loc[trials["arm"] == "inert", "trial"] = list(base.trials.values())
    assert warnings_of(study, trials) == [
        ("control", "The A/A control “inert” means the same runs as the reference: it checks nothing.")
    ]
    assert "and so checks nothing." in find(study, trials, compare(study, trials)).text


def test_few_seeds_and_none_are_said_of_a_control_too() -> None:
    study, trials = study_with([*shifted(0.05)[:2], math.nan], 3)
    assert "has too few pairs for a test." in find(study, trials, compare(study, trials)).text
    study, trials = study_with([])
    assert "“inert” has no seed that has finished on both sides." in find(study, trials, compare(study, trials)).text


def test_only_a_control_is_no_comparison() -> None:
    study, trials = study_with(reference())
    study = study.model_copy(update={"arms": study.arms[:2]})
    comparisons = compare(study, trials)
    said = find(study, trials, comparisons)
    assert said.headline == "There is only the reference “base” and its A/A control: nothing is compared."
    assert main_table(study, trials, comparisons).rows[1][-1].text == "control: identical"
