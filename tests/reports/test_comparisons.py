"""From trials to pairs, and from pairs to what may be said."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.comparisons import bit_equal_arms, compare, pair
from reports.statistics import Verdict
from tests.reports import synthetic

ARMS = {"reference": {}, "arm": {"objective.n": 3}, "other": {"objective.n": 11}}
EXACT = {"rel": 1e-12, "abs": 1e-15}


def two(arm: list[float], reference: list[float], *, margin: float = 0.0) -> tuple:  # type: ignore[type-arg]
    study = synthetic.study_of(
        {"reference": {}, "arm": {"objective.n": 3}}, "reference", max(len(arm), len(reference)), margin=margin
    )
    return study, synthetic.trials_of(study, {"arm": arm, "reference": reference})


def test_pairs_are_by_seed_whatever_the_order_of_rows() -> None:
    study, trials = two([3.0, 3.1, 3.3], [3.5, 3.4, 3.2])
    pairs = pair(study, trials.sample(frac=1, random_state=1), "arm")
    assert pairs.seeds == (0, 1, 2)
    assert pairs.differences == pytest.approx([-0.5, -0.3, 0.1], **EXACT)
    assert pairs.dropped == ()
    assert pairs.proven


def test_a_failed_or_missing_side_drops_its_pair() -> None:
    study, trials = two([3.0, math.nan, 3.3, 3.2], [3.5, 3.4, math.nan])
    pairs = pair(study, trials, "arm")
    assert pairs.seeds == (0,)
    assert pairs.dropped == (1, 2, 3)


def test_a_finished_trial_without_a_finite_loss_gives_no_pair() -> None:
    study, trials = two([3.0, 3.1], [3.5, 3.4])
    trials.loc[(trials["arm"] == "arm") & (trials["seed"] == 1), "validation_loss"] = math.inf
    assert pair(study, trials, "arm").seeds == (0,)


@pytest.mark.parametrize("digest", ["another", None, math.nan])
def test_pairing_is_proven_only_by_equal_digests(digest: object) -> None:
    study, trials = two([3.0, 3.1], [3.5, 3.4])
    trials.loc[(trials["arm"] == "arm") & (trials["seed"] == 1), "batch_digest"] = digest
    pairs = pair(study, trials, "arm")
    assert pairs.same_batches == 1
    assert not pairs.proven


def test_two_missing_digests_prove_nothing() -> None:
    study, trials = two([3.0, 3.1], [3.5, 3.4])
    trials["batch_digest"] = None
    assert pair(study, trials, "arm").same_batches == 0


def test_the_numbers_are_those_of_scipy() -> None:
    arm, reference = synthetic.seed_losses(4, -0.01, 6), synthetic.seed_losses(4, 0, 6)
    study, trials = two(arm, reference, margin=0.05)
    comparison = compare(study, trials)["arm"]
    test = stats.ttest_rel(arm, reference)
    interval = test.confidence_interval(0.95)
    assert comparison.mean == pytest.approx(np.mean(arm) - np.mean(reference), rel=1e-10)
    assert (comparison.low, comparison.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert comparison.p == pytest.approx(test.pvalue, rel=1e-10)
    assert comparison.p_adjusted == comparison.p
    assert comparison.correlation == pytest.approx(np.corrcoef(arm, reference)[0, 1], rel=1e-10)
    assert math.isfinite(comparison.p_sign_flip)
    assert comparison.verdict is Verdict.EQUIVALENT


def test_the_family_is_all_declared_arms_even_those_without_data() -> None:
    study = synthetic.study_of(ARMS, "reference", 5, margin=0)
    losses = {"reference": synthetic.seed_losses(4, 0, 5), "arm": synthetic.seed_losses(4, -0.02, 5)}
    comparisons = compare(study, synthetic.trials_of(study, losses))
    assert list(comparisons) == ["arm", "other"]
    assert comparisons["arm"].family == 2
    assert comparisons["arm"].p_adjusted == pytest.approx(2 * comparisons["arm"].p, **EXACT)
    assert comparisons["other"].verdict is Verdict.NO_DATA
    assert math.isnan(comparisons["other"].mean)


@pytest.mark.parametrize(
    ("pairs", "verdict"), [(1, Verdict.VALUES_ONLY), (2, Verdict.VALUES_ONLY), (3, Verdict.EXPLORATORY),
                           (4, Verdict.EXPLORATORY), (5, Verdict.BETTER)]
)  # fmt: skip
def test_what_may_be_said_grows_with_the_pairs(pairs: int, verdict: Verdict) -> None:
    study, trials = two(synthetic.seed_losses(4, -0.05, pairs), synthetic.seed_losses(4, 0, pairs))
    comparison = compare(study, trials)["arm"]
    assert comparison.verdict is verdict
    assert math.isfinite(comparison.low) == (pairs >= 3)
    assert math.isfinite(comparison.p) == (pairs >= 5)


def test_bit_equal_losses_are_identical_and_no_evidence() -> None:
    losses = synthetic.seed_losses(4, 0, 5)
    study, trials = two(losses, losses, margin=0.01)
    comparison = compare(study, trials)["arm"]
    assert comparison.verdict is Verdict.IDENTICAL
    assert comparison.p == 1
    assert bit_equal_arms(study, trials) == [["reference", "arm"]]


def test_one_last_bit_is_a_difference() -> None:
    losses = synthetic.seed_losses(4, 0, 5)
    study, trials = two([*losses[:4], np.nextafter(losses[4], 5)], losses)
    assert compare(study, trials)["arm"].verdict is not Verdict.IDENTICAL
    assert bit_equal_arms(study, trials) == []


def test_arms_that_mean_the_same_run_are_no_idle_knob() -> None:
    study = synthetic.study_of({"reference": {}, "again": {}, "arm": {"objective.n": 1}}, "reference", 5)
    losses = synthetic.seed_losses(4, 0, 5)
    trials = synthetic.trials_of(study, dict.fromkeys(("reference", "again"), losses))
    assert compare(study, trials)["again"].pairs.shared == 5
    assert bit_equal_arms(study, trials) == []


def test_seeds_that_do_nothing_are_one_observation() -> None:
    study, trials = two([3.9] * 5, [4.0] * 5)
    comparison = compare(study, trials)["arm"]
    assert comparison.pairs.seed_is_idle
    assert comparison.verdict is Verdict.VALUES_ONLY


def test_a_study_of_the_reference_alone_has_no_comparison() -> None:
    study = synthetic.study_of({"reference": {}}, "reference")
    assert compare(study, synthetic.trials_of(study, {})) == {}


def test_an_empty_frame_is_a_study_that_has_not_begun() -> None:
    study = synthetic.study_of(ARMS, "reference")
    assert {c.verdict for c in compare(study, pd.DataFrame()).values()} == {Verdict.NO_DATA}


losses = st.one_of(st.none(), st.just(math.nan), st.floats(0, 20))


@given(st.lists(losses, min_size=7, max_size=7), st.lists(losses, min_size=7, max_size=7), st.floats(0, 1))
def test_any_losses_give_a_verdict(arm: list[float], reference: list[float], margin: float) -> None:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 3}}, "reference", 7, margin=margin)
    trials = synthetic.trials_of(study, {"arm": arm, "reference": reference})
    comparison = compare(study, trials)["arm"]
    assert comparison.pairs.count + len(comparison.pairs.dropped) == 7
    if comparison.pairs.count < 5:
        assert comparison.verdict not in (Verdict.BETTER, Verdict.WORSE, Verdict.EQUIVALENT, Verdict.UNDECIDED)
    assert not comparison.low > comparison.high
