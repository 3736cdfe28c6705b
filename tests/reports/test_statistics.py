"""The tests against scipy, statsmodels, closed forms and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from reports import statistics
from reports.statistics import Verdict

DIFFERENCES = [-0.031, -0.012, -0.022, 0.004, -0.019, -0.027, -0.008]
EXACT = {"rel": 1e-10, "abs": 1e-14}

samples = st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=9)
p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize("pairs", [2, 3, 5, 7])
def test_t_interval_is_that_of_scipy(pairs: int) -> None:
    values = DIFFERENCES[:pairs]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert statistics.t_interval(values) == pytest.approx((expected.low, expected.high), **EXACT)


@pytest.mark.parametrize("values", [[], [0.1]])
def test_t_interval_of_less_than_two_values_is_unknown(values: list[float]) -> None:
    assert all(math.isnan(end) for end in statistics.t_interval(values))


def test_t_test_is_the_paired_test_of_scipy_and_works_on_many_studies_at_once() -> None:
    generator = np.random.default_rng(3)
    arm, reference = generator.normal(size=(2, 40, 6))
    expected = stats.ttest_rel(arm, reference, axis=-1).pvalue
    assert statistics.t_test(arm - reference) == pytest.approx(expected, **EXACT)


def test_t_test_without_variance_takes_the_limit() -> None:
    assert statistics.t_test([0.0] * 5) == 1
    assert statistics.t_test([0.25] * 5) == 0
    assert statistics.t_test([[0.0] * 5, [-0.5] * 5]).tolist() == [1, 0]


def test_t_test_agrees_with_the_interval() -> None:
    generator = np.random.default_rng(4)
    for values in generator.normal(0.8, 1, size=(50, 5)):
        low, high = statistics.t_interval(values)
        assert (statistics.t_test(values) < 0.05) == (low > 0 or high < 0)


@pytest.mark.parametrize("pairs", [6, 7])
def test_sign_flip_is_that_of_scipy(pairs: int) -> None:
    values = np.array(DIFFERENCES[:pairs])
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert statistics.sign_flip_test(values) == pytest.approx(expected.pvalue, **EXACT)


@given(samples)
def test_sign_flip_is_the_share_of_all_patterns(values: list[float]) -> None:
    observed = abs(math.fsum(values))
    patterns = list(itertools.product((1, -1), repeat=len(values)))
    tolerance = 1e-12 * math.fsum(map(abs, values))
    extreme = sum(
        abs(math.fsum(sign * value for sign, value in zip(pattern, values, strict=True))) >= observed - tolerance
        for pattern in patterns
    )
    assert statistics.sign_flip_test(values) == extreme / len(patterns)


def test_sign_flip_reaches_its_smallest_p_and_one() -> None:
    assert statistics.sign_flip_test([0.1] * 6) == 2 / 2**6
    assert statistics.sign_flip_test([0.0] * 6) == 1


@pytest.mark.parametrize("pairs", [0, 5, 21])
def test_sign_flip_is_not_given_where_it_says_nothing_or_takes_too_long(pairs: int) -> None:
    assert math.isnan(statistics.sign_flip_test([0.1] * pairs))


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.1])
def test_equivalence_is_that_of_statsmodels(margin: float) -> None:
    expected = DescrStatsW(np.array(DIFFERENCES)).ttost_mean(-margin, margin)[0]
    assert statistics.equivalence_test(DIFFERENCES, margin) == pytest.approx(expected, **EXACT)


def test_equivalence_without_variance_margin_or_data() -> None:
    assert statistics.equivalence_test([0.001] * 5, 0.01) == 0
    assert statistics.equivalence_test([0.02] * 5, 0.01) == 1
    assert math.isnan(statistics.equivalence_test(DIFFERENCES, 0))
    assert math.isnan(statistics.equivalence_test([0.1], 1))


def test_equivalence_and_intervals_work_on_many_studies_at_once() -> None:
    differences = np.random.default_rng(9).normal(0, 0.01, size=(2, 7, 5))
    differences[1, 3] = 0.002
    together = statistics.equivalence_test(differences, 0.01)
    lows, highs = statistics.t_intervals(differences)
    for place in np.ndindex(2, 7):
        assert together[place] == statistics.equivalence_test(differences[place], 0.01)
        assert (lows[place], highs[place]) == pytest.approx(statistics.t_interval(differences[place]), **EXACT)


def test_verdicts_of_many_are_those_of_each() -> None:
    differences = np.random.default_rng(10).normal(0, 1, size=(30, 5))
    differences[3] = 0
    p, equivalence = np.random.default_rng(11).choice([0.01, 0.5, math.nan], size=(2, 30))
    said = statistics.verdicts(differences, p, equivalence)
    assert said.tolist() == [str(statistics.verdict(*one)) for one in zip(differences, p, equivalence, strict=True)]
    assert len(set(said)) == 5


@settings(max_examples=5)  # statsmodels takes 20 ms a call
@given(p_lists)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert statistics.holm(p_values) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(p_lists)
def test_holm_never_lowers_p_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = statistics.holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_holm_keeps_a_missing_comparison_in_the_family() -> None:
    adjusted = statistics.holm([0.01, math.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.03, 0.08], **EXACT)
    assert math.isnan(adjusted[1])


def test_holm_works_on_many_studies_at_once() -> None:
    p_values = np.random.default_rng(5).uniform(size=(7, 4))
    assert statistics.holm(p_values).tolist() == [statistics.holm(row).tolist() for row in p_values]


@pytest.mark.parametrize(("pairs", "family"), [(5, 1), (5, 3), (8, 10)])
def test_smallest_detectable_effect_has_80_percent_power(pairs: int, family: int) -> None:
    effect = statistics.smallest_detectable_effect(0.02, pairs, family)
    critical = stats.t.ppf(1 - 0.05 / family / 2, pairs - 1)
    shift = effect / 0.02 * math.sqrt(pairs)
    power = stats.nct.sf(critical, pairs - 1, shift) + stats.nct.cdf(-critical, pairs - 1, shift)
    assert power == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("deviation", "pairs"), [(0.0, 5), (math.nan, 5), (0.1, 1)])
def test_smallest_detectable_effect_needs_a_deviation(deviation: float, pairs: int) -> None:
    assert math.isnan(statistics.smallest_detectable_effect(deviation, pairs, 1))


def test_ten_arms_need_eight_seeds_for_two_deviations() -> None:
    """10 arms and an effect of two standard deviations: power below one half with 5 seeds, about .9 with 8."""
    assert statistics.smallest_detectable_effect(1, 5, 10) > 2 > statistics.smallest_detectable_effect(1, 8, 10)


@pytest.mark.parametrize(("mean", "deviation", "family"), [(0.01, 0.01, 1), (-0.01, 0.02, 4), (0.002, 0.02, 1)])
def test_seeds_to_decide_are_the_first_with_enough_power(mean: float, deviation: float, family: int) -> None:
    seeds = statistics.seeds_to_decide(mean, deviation, 0, family)
    assert seeds is not None
    test = TTestPower()
    power = [test.power(abs(mean) / deviation, count, 0.05 / family) for count in (seeds - 1, seeds)]
    assert power[1] >= 0.8
    assert power[0] < 0.8 or seeds == statistics.VERDICT_PAIRS


def test_seeds_to_decide_counts_a_proof_of_equivalence() -> None:
    assert statistics.seeds_to_decide(0, 0.01, 0, 1) is None
    seeds = statistics.seeds_to_decide(0, 0.01, 0.01, 1)
    assert seeds is not None
    differences = np.random.default_rng(6).normal(0, 0.01, size=(3000, seeds))
    error = 3 * math.sqrt(0.16 / 3000)
    proven = [
        (statistics.equivalence_test(differences[:, :count], 0.01) <= 0.05).mean() for count in (seeds - 1, seeds)
    ]
    assert proven[0] < 0.8 + error
    assert proven[1] > 0.8 - error


@pytest.mark.parametrize(("mean", "deviation"), [(math.nan, 1.0), (0.1, 0.0), (0.1, math.nan), (1e-9, 1.0)])
def test_seeds_to_decide_may_be_out_of_reach(mean: float, deviation: float) -> None:
    assert statistics.seeds_to_decide(mean, deviation, 0, 1) is None


def test_a_huge_effect_needs_no_more_than_the_least() -> None:
    assert statistics.seeds_to_decide(100, 1e-6, 0.01, 3) == statistics.VERDICT_PAIRS


def test_correlation_is_pearsons() -> None:
    left, right = np.random.default_rng(7).normal(size=(2, 6))
    assert statistics.correlation(left, right) == pytest.approx(np.corrcoef(left, right)[0, 1], **EXACT)
    assert math.isnan(statistics.correlation([1, 1, 1], [1, 2, 3]))
    assert math.isnan(statistics.correlation([1, 2], [1, 2]))


@pytest.mark.parametrize(
    ("differences", "p", "equivalence_p", "expected"),
    [
        ([], math.nan, math.nan, Verdict.NO_DATA),
        ([0.0], math.nan, math.nan, Verdict.IDENTICAL),
        ([0.0] * 5, 1.0, 0.0, Verdict.IDENTICAL),
        ([-0.1] * 2, 0.0, math.nan, Verdict.VALUES_ONLY),
        ([-0.1, -0.1, -0.2], 0.0, 0.0, Verdict.EXPLORATORY),
        ([-0.1, -0.1, -0.2, -0.1], 0.0, 0.0, Verdict.EXPLORATORY),
        ([-0.1, -0.1, -0.2, -0.1, -0.1], 0.05, 0.06, Verdict.BETTER),
        ([0.1, 0.1, 0.2, 0.1, 0.1], 0.05, 0.06, Verdict.WORSE),
        ([0.1, 0.1, 0.2, 0.1, 0.1], 0.051, 0.051, Verdict.UNDECIDED),
        ([0.1, 0.1, 0.2, 0.1, 0.1], 0.01, 0.01, Verdict.EQUIVALENT),
        ([0.1, 0.1, 0.2, 0.1, 0.1], math.nan, math.nan, Verdict.UNDECIDED),
    ],
)
def test_verdicts_follow_the_rules(differences: list[float], p: float, equivalence_p: float, expected: Verdict) -> None:
    assert statistics.verdict(differences, p, equivalence_p) is expected


@given(st.lists(st.floats(-1, 1), max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_fewer_than_five_pairs_never_claim(differences: list[float], p: float, equivalence_p: float) -> None:
    verdict = statistics.verdict(differences, p, equivalence_p)
    assert verdict not in (Verdict.BETTER, Verdict.WORSE, Verdict.EQUIVALENT, Verdict.UNDECIDED)


@given(samples)
def test_turning_the_signs_turns_the_verdict(values: list[float]) -> None:
    turned = [-value for value in values]
    pair = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    p, equivalence_p = float(statistics.t_test(values)), statistics.equivalence_test(values, 0.1)
    assert statistics.t_test(turned) == pytest.approx(p, rel=1e-9)
    there = statistics.verdict(values, p, equivalence_p)
    assert statistics.verdict(turned, p, equivalence_p) is pair.get(there, there)
