"""Every arm beside the reference: pairs by seed, what they say, and whether they may be called paired."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from reports import numbers, statistics
from reports.frames import complete_trials, results
from reports.references import compared_with
from reports.starts import Start, start_of
from reports.statistics import Numbers, Verdict


@dataclass(frozen=True)
class Pairs:
    """The seeds that an arm and the reference have both finished.

    Attributes:
        seeds: the seeds of the pairs, ascending.
        losses: validation loss of the arm, (pairs,), nats per token.
        reference_losses: the same of the reference.
        dropped: planned seeds that give no pair, because a side failed or has not finished.
        same_batches: pairs whose two sides provably saw the same batches in the same order.
        same_initial: pairs whose initial weights are the same as a whole; only arms of one shape can have any.
        starts: the initial weights that both sides of each pair share; None where a side has not recorded them.
        shared: pairs that are one and the same run, because both arms mean the same configuration.

    """

    arm: str
    reference: str
    seeds: tuple[int, ...]
    losses: Numbers = field(repr=False)
    reference_losses: Numbers = field(repr=False)
    dropped: tuple[int, ...]
    same_batches: int
    same_initial: int
    shared: int
    starts: tuple[Start | None, ...] = ()

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.seeds)

    @property
    def differences(self) -> Numbers:
        """Arm minus reference, (pairs,), nats per token; negative is better."""
        return self.losses - self.reference_losses

    @property
    def proven(self) -> bool:
        """Whether the word "paired" may be used: every pair saw the same batches from equal weights.

        That is, all parameters that both sides share start equal, where these are recorded.
        """
        return self.same_batches == self.count and self.equal_starts == len(self.known_starts)

    @property
    def known_starts(self) -> tuple[Start, ...]:
        """The initial weights of the pairs that have recorded them."""
        return tuple(start for start in self.starts if start is not None)

    @property
    def equal_starts(self) -> int:
        """Pairs that have recorded their initial weights, and in which all shared ones are equal."""
        return sum(start.proven for start in self.known_starts)

    @property
    def same_run(self) -> bool:
        """Whether both arms mean the same configuration, so that each pair is one run beside itself."""
        return 0 < self.count == self.shared

    @property
    def bit_equal(self) -> bool:
        """Whether there are pairs, and all their losses are equal to the last bit."""
        return self.count > 0 and not self.differences.any()

    @property
    def seed_is_idle(self) -> bool:
        """Whether all seeds gave the same losses, so that the pairs are one observation repeated."""
        return self.count > 1 and np.ptp(self.losses) == 0 and np.ptp(self.reference_losses) == 0


@dataclass(frozen=True)
class Comparison:
    """What the pairs of one arm say; every number that was not earned by enough pairs is NaN.

    Attributes:
        family: number of comparisons that p values are adjusted over.
        control: whether this is the A/A control, the reference with something inert added: no hypothesis.
        mean: mean difference, nats per token.
        low: lower end of its 95 % t interval, for this comparison alone.
        high: upper end.
        deviation: standard deviation of the differences.
        p: two-sided p of the paired t test.
        p_adjusted: the same, adjusted over the family.
        p_sign_flip: exact sign-flip test, from 6 pairs on.
        p_equivalence: the two one-sided tests inside the study's margin.
        p_equivalence_adjusted: the same, adjusted over the family.
        correlation: of the two arms over the paired seeds.
        smallest_detectable: the difference these seeds would show with 80 % power.
        seeds_to_decide: seeds that would bring a verdict; None if 1,000 would not.

    """

    pairs: Pairs
    family: int
    control: bool
    mean: float
    low: float
    high: float
    deviation: float
    p: float
    p_adjusted: float
    p_sign_flip: float
    p_equivalence: float
    p_equivalence_adjusted: float
    correlation: float
    smallest_detectable: float
    seeds_to_decide: int | None
    verdict: Verdict

    @property
    def arm(self) -> str:
        """Name of the arm."""
        return self.pairs.arm

    @property
    def significant(self) -> bool:
        """Whether the t test finds a difference, whatever its size."""
        return self.p_adjusted <= statistics.LEVEL

    @property
    def half_width(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2


def pair(study: StoredStudy, trials: pd.DataFrame, arm: str) -> Pairs:
    """Return the pairs of an arm that is compared and its reference; a trial that failed takes its pair with it."""
    return _pair(study, complete_trials(study, trials), arm, compared_with(study)[arm])


def _pair(study: StoredStudy, trials: pd.DataFrame, arm: str, reference: str) -> Pairs:
    losses, reference_losses = results(trials, arm), results(trials, reference)
    planned = set(study.arm(arm).trials) | set(study.arm(reference).trials)
    seeds = sorted(set(losses.index) & set(reference_losses.index))
    rows, reference_rows = (trials[trials["arm"] == name].set_index("seed").loc[seeds] for name in (arm, reference))
    return Pairs(
        arm=arm,
        reference=reference,
        seeds=tuple(seeds),
        losses=np.asarray(losses.loc[seeds], dtype=np.float64),
        reference_losses=np.asarray(reference_losses.loc[seeds], dtype=np.float64),
        dropped=tuple(sorted(planned - set(seeds))),
        same_batches=_agreements(rows["batch_digest"], reference_rows["batch_digest"]),
        same_initial=_agreements(rows["initial_digest"], reference_rows["initial_digest"]),
        shared=_agreements(rows["trial"], reference_rows["trial"]),
        starts=tuple(map(start_of, rows["initial_weights"], reference_rows["initial_weights"])),
    )


def compare(study: StoredStudy, trials: pd.DataFrame) -> dict[str, Comparison]:
    """Compare every arm with its reference; arm → comparison, in the study's order, without arms that have none.

    The family that p values are adjusted over is the declared one: all of them, with or without enough seeds. The
    A/A control is no hypothesis, and is tested alone.
    """
    trials = complete_trials(study, trials)
    others = [study.arm(name) for name in compared_with(study)]
    families = [[arm for arm in others if not arm.control], *([arm] for arm in others if arm.control)]
    found = {comparison.arm: comparison for family in families for comparison in _compare_family(study, trials, family)}
    return {arm.name: found[arm.name] for arm in others}


def _compare_family(study: StoredStudy, trials: pd.DataFrame, arms: list[StoredArm]) -> Iterator[Comparison]:
    """Yield the comparisons of arms whose p values are adjusted together."""
    of = compared_with(study)
    every = [_pair(study, trials, arm.name, of[arm.name]) for arm in arms]
    margin = study.equivalence_margin
    p_values, equivalences = [math.nan] * len(every), [math.nan] * len(every)
    for position, pairs in enumerate(every):
        if pairs.count >= statistics.VERDICT_PAIRS:  # below, a p value would be read as a verdict
            p_values[position] = float(statistics.t_test(pairs.differences))
            equivalences[position] = float(statistics.equivalence_test(pairs.differences, margin))
    adjusted, equivalences_adjusted = statistics.holm(p_values), statistics.holm(equivalences)
    for position, (arm, pairs) in enumerate(zip(arms, every, strict=True)):
        p = p_values[position], float(adjusted[position])
        equivalence = equivalences[position], float(equivalences_adjusted[position])
        yield _comparison(pairs, len(every), arm.control, margin, p, equivalence)


def hypotheses(comparisons: Mapping[str, Comparison]) -> list[Comparison]:
    """Return the comparisons that ask something: all but the A/A control's."""
    return [comparison for comparison in comparisons.values() if not comparison.control]


def controls(comparisons: Mapping[str, Comparison]) -> list[Comparison]:
    """Return the A/A control's comparison; none where the study has no control."""
    return [comparison for comparison in comparisons.values() if comparison.control]


def decimals(comparisons: Iterable[Comparison]) -> int:
    """Return the decimals in which the differences of a study are shown, everywhere.

    The A/A control, which may differ by rounding errors alone, does not widen the others.
    """
    return numbers.shared_decimals(comparison.half_width for comparison in comparisons if not comparison.control)


def bit_equal_arms(study: StoredStudy, trials: pd.DataFrame) -> list[list[str]]:
    """Return groups of arms whose finished trials have bit-equal losses on the same seeds: what differs does nothing.

    Arms that share all their trials mean the same run and are no such finding; nor is the A/A control, which should
    do nothing.
    """
    trials = complete_trials(study, trials)
    groups: dict[str, list[str]] = {}
    arms = [arm for arm in study.arms if not arm.control]
    for arm in arms:
        losses = results(trials, arm.name)
        if len(losses):
            groups.setdefault(str(losses.to_dict()), []).append(arm.name)  # a float's text is exact
    different = {arm.name: tuple(sorted(arm.trials.items())) for arm in arms}
    return [names for names in groups.values() if len({different[name] for name in names}) > 1]


def _comparison(
    pairs: Pairs,
    family: int,
    control: bool,
    margin: float,
    p: tuple[float, float],
    equivalence: tuple[float, float],
) -> Comparison:
    differences = pairs.differences
    estimated = pairs.count >= statistics.EXPLORATORY_PAIRS
    low, high = statistics.shown_interval(differences)
    mean = float(differences.mean()) if pairs.count else math.nan
    deviation = float(differences.std(ddof=1)) if estimated else math.nan
    verdict = statistics.verdict(differences, p[1], equivalence[1])
    if pairs.seed_is_idle and verdict is not Verdict.IDENTICAL:
        verdict = Verdict.VALUES_ONLY  # repetitions of one run, not a sample
    return Comparison(
        pairs=pairs,
        family=family,
        control=control,
        mean=mean,
        low=low,
        high=high,
        deviation=deviation,
        p=p[0],
        p_adjusted=p[1],
        p_sign_flip=statistics.sign_flip_test(differences),
        p_equivalence=equivalence[0],
        p_equivalence_adjusted=equivalence[1],
        correlation=statistics.correlation(pairs.losses, pairs.reference_losses),
        smallest_detectable=statistics.smallest_detectable_effect(deviation, pairs.count, family),
        seeds_to_decide=statistics.seeds_to_decide(mean, deviation, margin, family),
        verdict=verdict,
    )


def _agreements(left: pd.Series[str], right: pd.Series[str]) -> int:
    return int((left.notna() & right.notna() & (left == right)).sum())
