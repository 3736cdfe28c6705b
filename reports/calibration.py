"""How often the harness would be wrong, and how often it would find what is there: thousands of simulated studies.

A simulated study is its paired differences alone, in units of their standard deviation: every arm of it is judged by
the very functions that judge a real one. All arms share the reference's noise, as in a real study, so that any two of
them correlate by one half; a Gaussian copula gives them that and exactly the named distribution.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from reports import numbers, statistics
from reports.statistics import LEVEL, Numbers, Verdict
from reports.table import Cell, Column, Table, count_cell

ARMS = (5, 20)
SEEDS = (3, 5, 8)
STUDIES = 4000

MARGIN = 3.0
"""Of equivalence, in standard deviations: wide enough that a claim of it is not out of reach for five seeds."""
EFFECTS = (1.0, 2.0)
RESAMPLES = 1000
BLOCK = 500
"""Studies whose bootstrap means are held at a time: 80 MB with 20 arms."""

Booleans = npt.NDArray[np.bool_]
Words = npt.NDArray[np.str_]


class Noise(enum.StrEnum):
    """How the paired differences are distributed; each has mean 0 and standard deviation 1."""

    NORMAL = "normal"
    HEAVY = "heavy tails"
    SKEWED = "skewed"
    BOTH_SKEWED = "both skewed"


QUANTILES: dict[Noise, Callable[[Numbers], Numbers]] = {
    Noise.NORMAL: lambda normal: normal,
    Noise.HEAVY: lambda normal: np.asarray(special.stdtrit(3, special.ndtr(normal))) / math.sqrt(3),
    Noise.SKEWED: lambda normal: -np.asarray(special.log_ndtr(-normal)) - 1,
    Noise.BOTH_SKEWED: lambda normal: (
        -np.sign(normal) * np.asarray(special.log_ndtr(-np.abs(normal)) + math.log(2)) / math.sqrt(2)
    ),
}
"""From a standard normal number to one of the distribution.

These are Student's t with 3 degrees of freedom, a centred exponential, and Laplace's: the difference of two
exponentials, which is symmetric.
"""


@dataclass(frozen=True)
class Setting:
    """The size of the simulated studies, and how their differences are distributed."""

    noise: Noise
    arms: int
    seeds: int


@dataclass(frozen=True)
class Rate:
    """How often something happened."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """Count over all."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        found = stats.binomtest(self.count, self.of).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Calibration:
    """What the simulated studies of one setting said.

    Attributes:
        claims: studies without any effect that call an arm better or worse.
        uncorrected: the same by p alone, without Holm's correction, whatever the number of seeds.
        bootstrap: the same by percentile bootstrap, its level divided by the number of arms.
        coverage: 95 % t intervals that hold the true difference, one for each study.
        bootstrap_coverage: the same of percentile bootstrap intervals.
        equivalent: studies that call an arm equivalent though every difference lies at the margin.
        power: studies that call the one arm better that is so, by each of `EFFECTS`.

    """

    setting: Setting
    claims: Rate
    uncorrected: Rate
    bootstrap: Rate
    coverage: Rate
    bootstrap_coverage: Rate
    equivalent: Rate
    power: tuple[Rate, ...]


def simulated(setting: Setting, studies: int, generator: np.random.Generator) -> Numbers:
    """Return the paired differences of studies without any effect, (studies, arms, seeds)."""
    reference = generator.standard_normal((studies, 1, setting.seeds))
    own = generator.standard_normal((studies, setting.arms, setting.seeds))
    return QUANTILES[setting.noise](math.sqrt(0.5) * (own + reference))


def judged(differences: Numbers, margin: float = math.nan) -> Words:
    """Return the verdict on each arm, as the report finds it: (studies, arms, seeds) → (studies, arms)."""
    p_values = statistics.holm(statistics.t_test(differences))
    equivalences = statistics.holm(statistics.equivalence_test(differences, margin))
    return statistics.verdicts(differences, p_values, equivalences)


def calibrate(setting: Setting, studies: int = STUDIES, seed: int = 0) -> Calibration:
    """Simulate studies of one setting; the same seed gives the same numbers, whatever else is simulated."""
    place = [seed, list(Noise).index(setting.noise), setting.arms, setting.seeds]
    generator = np.random.default_rng(place)
    null = simulated(setting, studies, generator)
    single = null[:, 0]
    low, high = statistics.t_intervals(single)
    resampled = _bootstrap(setting.seeds, generator)
    return Calibration(
        setting=setting,
        claims=_any(_claimed(judged(null))),
        uncorrected=_any(statistics.t_test(null) <= LEVEL),
        bootstrap=_any(np.concatenate(list(_misses(null, resampled, LEVEL / setting.arms)))),
        coverage=_rate((low <= 0) & (high >= 0)),
        bootstrap_coverage=_rate(~np.concatenate(list(_misses(single[:, None], resampled, LEVEL)))[:, 0]),
        equivalent=_any(judged(_at_margin(simulated(setting, studies, generator)), MARGIN) == Verdict.EQUIVALENT),
        power=tuple(_power(simulated(setting, studies, generator), effect) for effect in EFFECTS),
    )


def settings(arms: Sequence[int] = ARMS, seeds: Sequence[int] = SEEDS) -> Iterator[Setting]:
    """Yield the settings of a calibration, distribution by distribution."""
    for noise in Noise:
        for count in dict.fromkeys(arms):
            for number in dict.fromkeys(seeds):
                yield Setting(noise, count, number)


def calibration_table(found: Sequence[Calibration]) -> Table:
    """Return the table of a calibration, one row a setting."""
    studies = found[0].claims.of
    return Table(
        name="calibration",
        caption=f"What {studies:,} simulated studies a row say, in percent.",
        columns=(
            Column("noise"),
            Column("arms", numeric=True),
            Column("seeds", numeric=True),
            Column("claims", numeric=True),
            Column("interval", numeric=True),
            Column("without Holm", numeric=True),
            Column("bootstrap", numeric=True),
            Column("t interval", numeric=True),
            Column("bootstrap interval", numeric=True),
            Column("equivalent", numeric=True),
            *(Column(f"power {effect:g} SD", numeric=True) for effect in EFFECTS),
        ),
        rows=tuple(_row(calibration) for calibration in found),
        notes=(
            "Claims: studies without any effect that call an arm better or worse, with Wilson's 95 % interval. A "
            "verdict needs five seeds, so that fewer never claim anything. Without Holm: the same by the p of t tests "
            "alone. Bootstrap: the same by a percentile bootstrap whose level is divided by the number of arms.",
            "Intervals: how many 95 % intervals, by t and by bootstrap, hold the true difference of an arm.",
            f"Equivalent: studies that call an arm equivalent though all lie at the margin, {MARGIN:g} standard "
            "deviations from the reference on either side.",
            "Power: studies that call the one arm better that truly is, by one and by two standard deviations (SD) of "
            "the paired difference, among others without an effect.",
            "Heavy tails are Student's t with 3 degrees of freedom, skewed is an exponential, both skewed the "
            "difference of two exponentials, which is symmetric.",
        ),
        data=pd.DataFrame([_data(calibration) for calibration in found]),
    )


def _claimed(said: Words) -> Booleans:
    return np.isin(said, [Verdict.BETTER, Verdict.WORSE])


def _at_margin(differences: Numbers) -> Numbers:
    """Return the differences with every arm's truth at the margin: the even ones below it, the odd ones above."""
    sides = np.where(np.arange(differences.shape[1]) % 2 == 0, -1.0, 1.0)
    return differences + MARGIN * sides[:, None]


def _power(differences: Numbers, effect: float) -> Rate:
    differences[:, 0] -= effect
    return _rate(judged(differences)[:, 0] == Verdict.BETTER)


def _bootstrap(seeds: int, generator: np.random.Generator) -> Numbers:
    """Return how often each seed is drawn in each resample, as shares: (resamples, seeds); the same for every study."""
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds


def _misses(differences: Numbers, resampled: Numbers, level: float) -> Iterator[Booleans]:
    """Yield, block by block, which percentile bootstrap intervals of the mean miss zero: (studies, arms)."""
    for start in range(0, len(differences), BLOCK):
        means = np.sort(differences[start : start + BLOCK] @ resampled.T, axis=-1)
        low, high = np.quantile(means, (level / 2, 1 - level / 2), axis=-1)
        yield (low > 0) | (high < 0)


def _any(arms: Booleans) -> Rate:
    """Return the share of studies in which something is true of an arm."""
    return _rate(np.asarray(arms.any(axis=-1)))


def _rate(happened: Booleans) -> Rate:
    return Rate(int(happened.sum()), len(happened))


def _row(found: Calibration) -> tuple[Cell, ...]:
    setting = found.setting
    beside = (found.uncorrected, found.bootstrap, found.coverage, found.bootstrap_coverage, found.equivalent)
    return (
        Cell(str(setting.noise)),
        count_cell(setting.arms),
        count_cell(setting.seeds),
        _rate_cell(found.claims),
        Cell("–".join(numbers.fixed(100 * end, 1) for end in found.claims.interval), key=found.claims.share),
        *(_rate_cell(rate) for rate in (*beside, *found.power)),
    )


def _rate_cell(rate: Rate) -> Cell:
    return Cell(numbers.fixed(100 * rate.share, 1), key=rate.share)


def _data(found: Calibration) -> dict[str, str | float]:
    setting = found.setting
    rates = {
        "false_claims": found.claims,
        "false_claims_uncorrected": found.uncorrected,
        "false_claims_bootstrap": found.bootstrap,
        "coverage": found.coverage,
        "coverage_bootstrap": found.bootstrap_coverage,
        "falsely_equivalent": found.equivalent,
        **{f"power_{effect:g}": rate for effect, rate in zip(EFFECTS, found.power, strict=True)},
    }
    data: dict[str, str | float] = {
        "noise": str(setting.noise),
        "arms": setting.arms,
        "seeds": setting.seeds,
        "studies": found.claims.of,
    }
    for name, rate in rates.items():
        data |= {name: rate.share, f"{name}_low": rate.interval[0], f"{name}_high": rate.interval[1]}
    return data
