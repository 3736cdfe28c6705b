"""Statistics for few seeds: what may be said of a handful of differences between two arms, seed by seed.

Every function takes plain numbers. Differences are arm minus reference in nats per token, so negative is better.
The rules and their reasons: a bootstrap over 3-5 seeds is far too narrow, the t interval is not (Student, 1908);
several arms against one reference need a family-wise level (Holm, 1979); "no difference" is a claim of its own and
needs two one-sided tests (Schuirmann, 1987); and below five seeds nothing is claimed at all.
"""

from __future__ import annotations

import enum
import functools
import math
import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.power import TTestPower

LEVEL = 0.05
"""Two-sided error level of a whole family of comparisons."""
POWER = 0.8
"""Power at which a smallest detectable effect, or a number of seeds, is stated."""
EXPLORATORY_PAIRS = 3
"""From here on an estimate with an interval."""
VERDICT_PAIRS = 5
"""From here on a verdict."""
SIGN_FLIP_PAIRS = 6
"""From here on the exact sign-flip test can fall below 5 %: its smallest p is 2 / 2ⁿ."""
MOST_SIGN_FLIP_PAIRS = 20
MOST_SEEDS = 1000
"""More seeds than this are reported as out of reach."""
SEEDS = np.arange(VERDICT_PAIRS, MOST_SEEDS + 1)
LARGEST_EFFECT = 10.0
"""In standard deviations. Beyond, five seeds are enough at any level, and scipy's noncentral t loses its footing."""

Numbers = npt.NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]


class Verdict(enum.StrEnum):
    """What may be said of an arm beside the reference."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    EXPLORATORY = "exploratory"
    VALUES_ONLY = "values only"
    IDENTICAL = "identical"
    NO_DATA = "no data"
    OTHER_TASK = "another task"


def t_interval(values: npt.ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """Student's interval of the mean of `values` (n,) at confidence 1 − `level`; NaN for fewer than two values."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size < 2:
        return math.nan, math.nan
    low, high = t_intervals(numbers, level)
    return float(low), float(high)


def t_intervals(values: npt.ArrayLike, level: float = LEVEL) -> tuple[Numbers, Numbers]:
    """Both ends of Student's interval over the last axis, which has two values or more: (…, n) → (…), (…)."""
    numbers = np.asarray(values, dtype=np.float64)
    count = numbers.shape[-1]
    half_widths = stats.t.ppf(1 - level / 2, count - 1) * numbers.std(axis=-1, ddof=1) / math.sqrt(count)
    means = numbers.mean(axis=-1)
    return np.asarray(means - half_widths), np.asarray(means + half_widths)


def shown_interval(values: npt.ArrayLike) -> tuple[float, float]:
    """Student's 95 % interval of the mean of `values` (n,), NaN below three, where it says nothing."""
    numbers = np.asarray(values, dtype=np.float64)
    return t_interval(numbers) if numbers.size >= EXPLORATORY_PAIRS else (math.nan, math.nan)


def within_intervals(values: npt.ArrayLike, level: float = LEVEL) -> tuple[Numbers, Numbers]:
    """Intervals of means without what seeds have in common: (seeds, conditions) → (conditions,), (conditions,).

    Each row is moved to the mean of all rows before Student's interval is taken (Cousineau, 2005), and the interval is
    widened by √(k / (k − 1)) for k conditions, for what that takes away (Morey, 2008). Two conditions are then as
    certain beside each other as their intervals look. Needs two seeds and two conditions.
    """
    numbers = np.asarray(values, dtype=np.float64)
    centred = numbers - numbers.mean(axis=1, keepdims=True) + numbers.mean()
    low, high = t_intervals(centred.T, level)
    means = numbers.mean(axis=0)
    widening = math.sqrt(numbers.shape[1] / (numbers.shape[1] - 1))
    return means - (means - low) * widening, means + (high - means) * widening


def t_test(differences: npt.ArrayLike) -> Numbers:
    """Two-sided p of the paired t test over the last axis: (…, pairs) → (…).

    Without variance the statistic has no distribution, and its limit is taken: p = 1 where all differences are zero,
    else 0.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    return _p_values(numbers, 0.0, "two-sided", np.where(numbers[..., 0] == 0, 1.0, 0.0))


def sign_flip_test(differences: npt.ArrayLike) -> float:
    """Two-sided p of the exact sign-flip test (Fisher, 1935) of `differences` (pairs,).

    Under no effect each difference is as likely with the other sign; p is the share of all 2ⁿ sign patterns whose sum
    is at least as far from zero. NaN below 6 pairs, where it cannot be significant, and above 20, where the patterns
    are too many to list.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not SIGN_FLIP_PAIRS <= numbers.size <= MOST_SIGN_FLIP_PAIRS:
        return math.nan
    sums = np.abs(numbers[:1])  # the first sign may stay fixed: the other half of the patterns is the mirror image
    for number in np.abs(numbers[1:]):
        sums = np.concatenate([sums + number, sums - number])
    # Sums that are equal on paper differ in the last bits, depending on the order of the terms.
    tolerance = 1e-12 * float(np.abs(numbers).sum())
    return float(np.mean(np.abs(sums) >= abs(float(numbers.sum())) - tolerance))


def equivalence_test(differences: npt.ArrayLike, margin: float) -> Numbers:
    """P of the two one-sided tests (Schuirmann, 1987) that the mean lies inside ±`margin`: (…, pairs) → (…).

    NaN without a positive margin or with fewer than two pairs.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not margin > 0 or numbers.shape[-1] < 2:
        return np.full(numbers.shape[:-1], math.nan)
    constant = np.where(np.abs(numbers[..., 0]) < margin, 0.0, 1.0)
    above = _p_values(numbers, -margin, "greater", constant)
    below = _p_values(numbers, margin, "less", constant)
    return np.maximum(above, below)


def _p_values(numbers: Numbers, mean: float, alternative: Alternative, constant: Numbers) -> Numbers:
    """Return p of one t test over the last axis, and `constant` where the numbers do not vary."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's, for rows without variance, which are replaced
        p_values = np.asarray(stats.ttest_1samp(numbers, mean, axis=-1, alternative=alternative).pvalue)
    return np.where(np.ptp(numbers, axis=-1) == 0, constant, p_values)


def holm(p_values: npt.ArrayLike) -> Numbers:
    """Step-down adjusted p values (Holm, 1979) over the last axis: (…, family) → (…, family).

    A comparison without a p value (NaN) stays in the family as p = 1, and stays NaN: a family does not shrink because
    an arm failed. (statsmodels has the same for one family, at 20 ms a call; the calibration needs thousands.)
    """
    raw = np.asarray(p_values, dtype=np.float64)
    filled = np.where(np.isnan(raw), 1.0, raw)
    order = np.argsort(filled, axis=-1, kind="stable")
    factors = raw.shape[-1] - np.arange(raw.shape[-1])
    stepped = np.maximum.accumulate(np.take_along_axis(filled, order, axis=-1) * factors, axis=-1)
    adjusted = np.empty_like(filled)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return np.where(np.isnan(raw), np.nan, adjusted)


@functools.cache  # slow, and asked again by every figure that shows verdicts
def smallest_detectable_effect(deviation: float, pairs: int, family: int) -> float:
    """Return the true difference that `pairs` seeds would show with 80 % power, in the unit of `deviation`.

    The level is 5 % / `family`: the first and strictest step of Holm's procedure, which an arm may have to pass alone.

    Args:
        deviation: standard deviation of the paired differences.
        pairs: number of paired seeds, at least 2.
        family: number of comparisons with the reference.

    """
    if pairs < 2 or not deviation > 0:
        return math.nan
    effect = TTestPower().solve_power(nobs=pairs, alpha=LEVEL / max(family, 1), power=POWER, alternative="two-sided")
    return float(np.squeeze(effect)) * deviation


@functools.cache
def seeds_to_decide(mean: float, deviation: float, margin: float, family: int) -> int | None:
    """Return the fewest seeds (5 or more) with which a verdict would be had, were `mean` and `deviation` the truth.

    A verdict is had when either the t test or the two one-sided tests would succeed with 80 % power at the level
    5 % / `family`. None if 1,000 seeds would not do.
    """
    if not deviation > 0 or not math.isfinite(mean):
        return None
    level = LEVEL / max(family, 1)
    decided = _power_of_difference(abs(mean) / deviation, SEEDS, level) >= POWER
    if margin > 0:
        decided |= _power_of_equivalence(abs(mean) / deviation, margin / deviation, SEEDS, level) >= POWER
    return _first(decided)


def seeds_to_show(
    difference: float, deviation: float, family: int, *, level: float = LEVEL, power: float = POWER
) -> int | None:
    """Return the fewest seeds (5 or more) with which the t test would show a true `difference`.

    None if 1,000 seeds would not do.

    Args:
        difference: in nats per token, positive.
        deviation: standard deviation of the paired differences; NaN where it is not known.
        family: number of comparisons with the reference.
        level: two-sided level of the family, of which the first step of Holm's procedure is taken.
        power: chance to show it.

    """
    if not deviation >= 0:
        return None
    effect = difference / deviation if deviation else math.inf
    return _first(_power_of_difference(effect, SEEDS, level / max(family, 1)) >= power)


def deviation_limit(deviation: float, pairs: int, confidence: float = POWER) -> float:
    """Return the upper confidence limit of a standard deviation that was estimated from so many normal pairs.

    The sum of squares over σ² is chi-squared with `pairs` − 1 degrees of freedom. NaN for fewer than two pairs.
    """
    if pairs < 2:
        return math.nan
    return deviation * math.sqrt((pairs - 1) / float(stats.chi2.ppf(1 - confidence, pairs - 1)))


def _first(enough: npt.NDArray[np.bool_]) -> int | None:
    return int(SEEDS[np.argmax(enough)]) if enough.any() else None


def _power_of_difference(effect: float, seeds: npt.NDArray[np.int_], level: float) -> Numbers:
    # A significant difference of the wrong sign is left out: it is rare beyond measure where the power is 80 %, and
    # scipy's far tail is NaN at places.
    effect = min(effect, LARGEST_EFFECT)
    critical = stats.t.ppf(1 - level / 2, seeds - 1)
    return np.asarray(stats.nct.sf(critical, seeds - 1, effect * np.sqrt(seeds)))


def _power_of_equivalence(effect: float, margin: float, seeds: npt.NDArray[np.int_], level: float) -> Numbers:
    # Power of both one-sided tests together, bounded from below by the sum of the two less one (exact to well within a
    # seed at 80 %; the exact value needs Owen's Q).
    effect, margin = min(effect, LARGEST_EFFECT), min(margin, LARGEST_EFFECT)
    critical = stats.t.ppf(1 - level, seeds - 1)
    above = stats.nct.sf(critical, seeds - 1, (margin + effect) * np.sqrt(seeds))
    below = stats.nct.sf(critical, seeds - 1, (margin - effect) * np.sqrt(seeds))
    return np.asarray(above + below - 1)


def correlation(left: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Pearson's correlation of two arms over their pairs, (pairs,) each; NaN for fewer than 3 or a constant arm."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (left, right))
    if first.size < EXPLORATORY_PAIRS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    result: Any = stats.pearsonr(first, second)
    return float(result.statistic)


def verdict(differences: npt.ArrayLike, p_adjusted: float, equivalence_p_adjusted: float) -> Verdict:
    """Return what may be said of an arm with these `differences` (pairs,) to the reference; see `verdicts`."""
    return Verdict(str(verdicts(differences, p_adjusted, equivalence_p_adjusted)))


def verdicts(
    differences: npt.ArrayLike, p_adjusted: npt.ArrayLike, equivalence_p_adjusted: npt.ArrayLike
) -> npt.NDArray[np.str_]:
    """Return what may be said of many arms at once: differences (…, pairs) and two p values (…) → verdicts (…).

    A difference known to lie inside the margin counts as equivalent even where it is also known not to be zero. Both
    p values are those adjusted over the family; NaN claims nothing.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    pairs = numbers.shape[-1]
    if pairs >= VERDICT_PAIRS:
        equivalent, different = (np.asarray(p) <= LEVEL for p in (equivalence_p_adjusted, p_adjusted))
        means = numbers.mean(axis=-1)
        said = np.select(
            [equivalent, different & (means < 0), different],
            [Verdict.EQUIVALENT, Verdict.BETTER, Verdict.WORSE],
            Verdict.UNDECIDED,
        )
    else:
        few = Verdict.EXPLORATORY if pairs >= EXPLORATORY_PAIRS else Verdict.VALUES_ONLY
        said = np.full(numbers.shape[:-1], few if pairs else Verdict.NO_DATA)
    return np.where(numbers.any(axis=-1) | (pairs == 0), said, Verdict.IDENTICAL)
