"""Every arm beside the reference: pairs by seed, what they say, and whether they may be called paired."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers, statistics
from reports.frames import complete_trials, results
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
        same_initial: pairs whose initial weights are the same by name and shape; only arms of one shape can have any.
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
        """Whether the word "paired" may be used: every pair saw the same batches."""
        return self.same_batches == self.count

    @property
    def seed_is_idle(self) -> bool:
        """Whether all seeds gave the same losses, so that the pairs are one observation repeated."""
        return self.count > 1 and np.ptp(self.losses) == 0 and np.ptp(self.reference_losses) == 0


@dataclass(frozen=True)
class Comparison:
    """What the pairs of one arm say; every number that was not earned by enough pairs is NaN.

    Attributes:
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
    def half_width(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2


def pair(study: StoredStudy, trials: pd.DataFrame, arm: str) -> Pairs:
    """Return the pairs of `arm` and the study's reference; a trial that failed takes its pair with it."""
    return _pair(study, complete_trials(study, trials), arm)


def _pair(study: StoredStudy, trials: pd.DataFrame, arm: str) -> Pairs:
    losses, reference_losses = results(trials, arm), results(trials, study.reference)
    planned = set(study.arm(arm).trials) | set(study.arm(study.reference).trials)
    seeds = sorted(set(losses.index) & set(reference_losses.index))
    rows, reference_rows = (
        trials[trials["arm"] == name].set_index("seed").loc[seeds] for name in (arm, study.reference)
    )
    return Pairs(
        arm=arm,
        reference=study.reference,
        seeds=tuple(seeds),
        losses=np.asarray(losses.loc[seeds], dtype=np.float64),
        reference_losses=np.asarray(reference_losses.loc[seeds], dtype=np.float64),
        dropped=tuple(sorted(planned - set(seeds))),
        same_batches=_agreements(rows["batch_digest"], reference_rows["batch_digest"]),
        same_initial=_agreements(rows["initial_digest"], reference_rows["initial_digest"]),
        shared=_agreements(rows["trial"], reference_rows["trial"]),
    )


def compare(study: StoredStudy, trials: pd.DataFrame) -> dict[str, Comparison]:
    """Compare every other arm with the reference; arm → comparison, in the study's order.

    The family that p values are adjusted over is the declared one: all other arms, with or without enough seeds.
    """
    trials = complete_trials(study, trials)
    every = [_pair(study, trials, arm.name) for arm in study.arms if arm.name != study.reference]
    if not every:
        return {}
    margin = study.equivalence_margin
    p_values, equivalences = [math.nan] * len(every), [math.nan] * len(every)
    for position, pairs in enumerate(every):
        if pairs.count >= statistics.VERDICT_PAIRS:  # below, a p value would be read as a verdict
            p_values[position] = float(statistics.t_test(pairs.differences))
            equivalences[position] = statistics.equivalence_test(pairs.differences, margin)
    adjusted, equivalences_adjusted = statistics.holm(p_values), statistics.holm(equivalences)
    return {
        pairs.arm: _comparison(
            pairs,
            len(every),
            margin,
            (p_values[position], float(adjusted[position])),
            (equivalences[position], float(equivalences_adjusted[position])),
        )
        for position, pairs in enumerate(every)
    }


def decimals(comparisons: Iterable[Comparison]) -> int:
    """Return the decimals in which the differences of a study are shown, everywhere."""
    return numbers.shared_decimals(comparison.half_width for comparison in comparisons)


def bit_equal_arms(study: StoredStudy, trials: pd.DataFrame) -> list[list[str]]:
    """Return groups of arms whose finished trials have bit-equal losses on the same seeds: what differs does nothing.

    Arms that share all their trials mean the same run and are no such finding.
    """
    trials = complete_trials(study, trials)
    groups: dict[str, list[str]] = {}
    for arm in study.arms:
        losses = results(trials, arm.name)
        if len(losses):
            groups.setdefault(str(losses.to_dict()), []).append(arm.name)  # a float's text is exact
    different = {arm.name: tuple(sorted(arm.trials.items())) for arm in study.arms}
    return [names for names in groups.values() if len({different[name] for name in names}) > 1]


def _comparison(
    pairs: Pairs, family: int, margin: float, p: tuple[float, float], equivalence: tuple[float, float]
) -> Comparison:
    differences = pairs.differences
    estimated = pairs.count >= statistics.EXPLORATORY_PAIRS
    low, high = statistics.t_interval(differences) if estimated else (math.nan, math.nan)
    mean = float(differences.mean()) if pairs.count else math.nan
    deviation = float(differences.std(ddof=1)) if estimated else math.nan
    verdict = statistics.verdict(differences, p[1], equivalence[1])
    if pairs.seed_is_idle and verdict is not Verdict.IDENTICAL:
        verdict = Verdict.VALUES_ONLY  # repetitions of one run, not a sample
    return Comparison(
        pairs=pairs,
        family=family,
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
