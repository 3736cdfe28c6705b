"""The paragraph: what it says in each regime, and what it must never say."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from reports.comparisons import compare
from reports.finding import Finding, find
from tests.reports import synthetic


def finding(effects: dict[str, float], seeds: int = 5, *, margin: float = 0.0, noise: float = 0.004) -> Finding:
    study = synthetic.study_of(
        {"base": {}, **{name: {"objective.n": place} for place, name in enumerate(effects)}},
        "base",
        seeds,
        margin=margin,
        title="Does it help?",
    )
    losses = {"base": synthetic.seed_losses(4, 0, seeds)}
    losses |= {name: synthetic.seed_losses(4, effect, seeds, noise=noise) for name, effect in effects.items()}
    trials = synthetic.trials_of(study, losses)
    return find(study, trials, compare(study, trials))


def test_one_better_arm() -> None:
    said = finding({"arm": -0.02})
    assert said.headline == "“arm” is better than “base”."
    assert said.text.startswith(
        "Asked: Does it help? Planned: 1 arm beside the reference “base”, 5 seeds each, and 1.23 M training tokens a "
        "trial; compared by validation loss (next-token cross-entropy without auxiliary terms, nats per token) over "
        "pairs of one seed that saw the same batches in the same order. The reference reached "
    )
    assert " “arm” (−0.02" in said.text
    assert ") is better than the reference." in said.text
    assert said.text.endswith(
        "In parentheses: the mean paired difference to the reference with its 95 % t interval, and p (t test)."
    )


def test_one_worse_arm() -> None:
    said = finding({"arm": 0.02})
    assert said.headline == "“arm” is worse than “base”."
    assert "is worse than the reference." in said.text


def test_an_undecided_arm_says_what_would_decide() -> None:
    said = finding({"arm": 0.003}, noise=0.01)
    assert said.headline == "“arm” is neither better nor worse than “base”, as far as these seeds can tell."
    assert "would have been found with 80 % power, and about " in said.text
    assert "seeds would decide if the estimates hold." in said.text


def test_an_equivalent_arm_names_the_margin() -> None:
    said = finding({"arm": 0.001}, margin=0.05)
    assert said.headline == "“arm” is equivalent to “base” within the margin."
    assert "is equivalent to the reference within ±0.05 nats per token." in said.text
    assert said.text.endswith("and p (two one-sided tests for equivalence).")


def test_many_arms_are_grouped_and_the_largest_named() -> None:
    effects = {f"good {place}": -0.02 - 0.004 * place for place in range(6)} | {"bad": 0.04, "also bad": 0.05}
    said = finding(effects)
    assert said.headline == "Of 8 arms compared with “base”, 6 are better and 2 worse."
    assert "“good 5” (" in said.text
    assert " and 3 more are better than the reference." in said.text
    assert "“good 0”" not in said.text
    assert "“also bad” (" in said.text
    assert " are worse than the reference." in said.text
    assert "adjusted by Holm over 8 comparisons" in said.text


@pytest.mark.parametrize(("seeds", "regime"), [(1, "too few independent"), (2, "too few independent"),
                                               (3, "exploratory"), (4, "exploratory")])  # fmt: skip
def test_few_seeds_never_claim_anything(seeds: int, regime: str) -> None:
    said = finding({"arm": -0.5, "other": 0.5}, seeds)
    text = f"{said.headline} {said.text}"
    assert regime in text
    for claim in ("better", "worse", "equivalent", "undecided", "p ="):
        assert claim not in text


@pytest.mark.parametrize("seeds", [2, 3])
def test_of_many_arms_without_verdicts_both_ends_are_named(seeds: int) -> None:
    said = finding({"best": -0.05, "a": -0.01, "b": 0.02, "c": 0.03, "worst": 0.04}, seeds)
    assert "5 arms, 2 of them below the reference, from “best” (−0.05" in said.text
    assert " to “worst” (+0.04" in said.text
    assert "“c”" not in said.text


def test_a_single_seed_is_a_value() -> None:
    said = finding({"arm": -0.5}, 1)
    assert said.headline == "“arm” has too few pairs with “base” for more than its values."
    assert ", 1 pair)" in said.text
    assert "In parentheses" not in said.text


def test_identical_losses_are_an_idle_knob() -> None:
    study = synthetic.study_of({"base": {}, "arm": {"objective.n": 1}, "same": {}}, "base")
    losses = dict.fromkeys(("base", "arm", "same"), synthetic.seed_losses(4, 0, 5))
    trials = synthetic.trials_of(study, losses)
    said = find(study, trials, compare(study, trials))
    assert said.headline == "Of 2 arms compared with “base”, 2 are identical to it."
    assert "“same” means the same runs as the reference." in said.text
    assert (
        "“arm” is identical to the reference: losses are bit-equal in every pair, so the knob does nothing."
        in said.text
    )


def test_nothing_finished_is_no_finding() -> None:
    study, _, _ = synthetic.four_arms()
    for trials in (pd.DataFrame(), synthetic.trials_of(study, {arm.name: [math.nan] * 5 for arm in study.arms})):
        said = find(study, trials, compare(study, trials))
        assert said.headline == "There is no finding yet: no trial has finished."


def test_a_reference_without_a_trial_is_no_finding() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[trials["arm"] == "baseline", "status"] = "pending"
    said = find(study, trials, compare(study, trials))
    assert said.headline == (
        "There is no finding yet: no seed has finished in both an arm and the reference “baseline”."
    )


def test_only_the_reference() -> None:
    study = synthetic.study_of({"base": {}}, "base")
    trials = synthetic.trials_of(study, {"base": synthetic.seed_losses(4, 0, 5)})
    assert find(study, trials, {}).headline == "There is only the reference “base”: nothing is compared."


def test_the_half_finished_study() -> None:
    study, trials, _ = synthetic.half_finished()
    said = find(study, trials, compare(study, trials))
    assert said.headline == (
        "Of 3 arms compared with “baseline”, 1 is exploratory, 1 shown by values only and 1 without a pair."
    )


@pytest.mark.parametrize(("flops", "said"), [(7_700_000, False), (7_710_000, True), (14_210_000, True)])
def test_an_arm_with_more_compute_is_named(flops: int, said: bool) -> None:
    study = synthetic.study_of({"base": {}, "arm": {"objective.n": 1}}, "base", flops={"arm": flops})
    trials = synthetic.trials_of(study, {"base": [4.0], "arm": [3.9]})
    text = find(study, trials, compare(study, trials)).text
    assert ("More than 1.1 times the reference's training FLOPs: “arm” ×" in text) == said
    assert ("“arm” ×2.03; the table of fairness" in text) == (flops > 14e6)


def test_more_tokens_are_more_compute() -> None:
    study = synthetic.study_of({"base": {}, "arm": {"objective.n": 1}}, "base")
    trials = synthetic.trials_of(study, {"base": [4.0], "arm": [3.9]})
    trials.loc[trials["arm"] == "arm", "tokens"] *= 1.5
    assert "“arm” ×1.50; the table" in find(study, trials, compare(study, trials)).text


def test_the_word_paired_needs_proof() -> None:
    study, trials, _ = synthetic.four_arms()
    trials["batch_digest"] = None
    text = find(study, trials, compare(study, trials)).text
    assert "paired" not in text
    assert "the mean difference by seed to the reference" in text


def test_different_budgets_are_a_range() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[trials["arm"] == "baseline", "tokens"] = 2e6
    assert "1.23 M to 2 M training tokens a trial" in find(study, trials, compare(study, trials)).text
