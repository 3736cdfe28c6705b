"""Simulated studies without any effect: how often the harness claims one all the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports import statistics

STUDIES = 4000
ARMS = 5


def claims(seeds: int, generator: np.random.Generator, *, adjusted: bool) -> float:
    """The share of null studies of five arms and a reference in which any arm is called better or worse."""
    common = generator.normal(0, 0.02, size=(STUDIES, 1, seeds))
    arms = common + generator.normal(0, 0.005, size=(STUDIES, ARMS, seeds))
    reference = common + generator.normal(0, 0.005, size=(STUDIES, 1, seeds))
    p_values = statistics.t_test(arms - reference)
    decisive = statistics.holm(p_values) if adjusted else p_values
    return float((decisive <= statistics.LEVEL).any(axis=-1).mean())


@pytest.mark.parametrize("seeds", [5, 8])
def test_at_most_five_percent_of_null_studies_claim_an_effect(seeds: int) -> None:
    share = claims(seeds, np.random.default_rng(seeds), adjusted=True)
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / STUDIES)


def test_without_adjustment_far_more_would_claim_one() -> None:
    """The control: the simulation can show a family that is not protected."""
    assert claims(5, np.random.default_rng(1), adjusted=False) > 0.12


def test_pairing_finds_what_independent_seeds_do_not() -> None:
    generator = np.random.default_rng(2)
    common = generator.normal(0, 0.02, size=(1000, 6))
    arm = common - 0.01 + generator.normal(0, 0.003, size=(1000, 6))
    reference = common + generator.normal(0, 0.003, size=(1000, 6))
    unpaired = np.roll(reference, 1, axis=-1)
    found, missed = (statistics.t_test(arm - other) <= 0.05 for other in (reference, unpaired))
    assert found.mean() > 0.95
    assert missed.mean() < 0.3
