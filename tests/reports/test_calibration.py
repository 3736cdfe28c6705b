"""Simulated studies whose truth is known: how often the harness claims what is not there, and finds what is."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from typer.testing import CliRunner

from deepsight.cli.app import app
from reports import statistics
from reports.calibration import (
    QUANTILES,
    Calibration,
    Noise,
    Rate,
    Setting,
    calibrate,
    calibration_table,
    judged,
    settings,
    simulated,
)
from reports.statistics import Verdict

STUDIES = 4000
PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


def error(share: float, count: int = STUDIES) -> float:
    """Three standard errors of a share of so many studies."""
    return 3 * math.sqrt(share * (1 - share) / count)


@pytest.fixture(scope="module")
def five_by_five() -> Calibration:
    return calibrate(Setting(Noise.NORMAL, 5, 5))


def test_at_most_five_percent_of_null_studies_claim_an_effect(five_by_five: Calibration) -> None:
    assert five_by_five.claims.of == STUDIES
    assert five_by_five.claims.share <= 0.05 + error(0.05)
    assert five_by_five.equivalent.share <= 0.05 + error(0.05)
    print(f"power for 1 and 2 standard deviations: {[rate.share for rate in five_by_five.power]}")
    for power, effect in zip(five_by_five.power, (1, 2), strict=True):
        # An arm alone has to pass Holm's first step; it is easier where a null arm has passed by chance.
        assert power.share == pytest.approx(TTestPower().power(effect, 5, 0.05 / 5), abs=0.005 + error(power.share))


def test_without_the_correction_far_more_would_claim_one(five_by_five: Calibration) -> None:
    """The control: the simulation can show a family that is not protected."""
    assert five_by_five.uncorrected.share > 0.15
    assert five_by_five.bootstrap.share > 0.25


def test_a_t_interval_holds_the_truth_and_a_bootstrap_interval_does_not(five_by_five: Calibration) -> None:
    assert five_by_five.coverage.share == pytest.approx(0.95, abs=error(0.05))
    assert five_by_five.bootstrap_coverage.share < 0.88


def test_the_bootstrap_is_that_of_scipy() -> None:
    null = simulated(Setting(Noise.NORMAL, 1, 5), 300, np.random.default_rng(1))[:, 0]
    options = {"method": "percentile", "n_resamples": 500, "axis": -1, "rng": 1}
    found = stats.bootstrap((null,), np.mean, **options).confidence_interval
    theirs = float(((found.low <= 0) & (found.high >= 0)).mean())
    ours = calibrate(Setting(Noise.NORMAL, 1, 5), 2000).bootstrap_coverage.share
    assert ours == pytest.approx(theirs, abs=error(0.85, 300))


@pytest.mark.parametrize("noise", [Noise.HEAVY, Noise.BOTH_SKEWED])
def test_symmetric_noise_of_any_kind_claims_no_more(noise: Noise) -> None:
    null = simulated(Setting(noise, 5, 5), STUDIES, np.random.default_rng(2))
    assert np.isin(judged(null), [Verdict.BETTER, Verdict.WORSE]).any(axis=-1).mean() < 0.05


def test_skewed_noise_claims_too_much_and_is_reported_so() -> None:
    null = simulated(Setting(Noise.SKEWED, 5, 5), STUDIES, np.random.default_rng(3))
    assert np.isin(judged(null), [Verdict.BETTER, Verdict.WORSE]).any(axis=-1).mean() > 0.12


@pytest.mark.parametrize("seeds", [3, 4])
def test_too_few_seeds_never_claim_anything(seeds: int) -> None:
    found = calibrate(Setting(Noise.SKEWED, 5, seeds), 500)
    assert found.claims.count == found.equivalent.count == sum(rate.count for rate in found.power) == 0
    assert found.uncorrected.count > 100


@pytest.mark.parametrize(("seeds", "power"), [(5, 0.38), (8, 0.89)])
def test_ten_arms_and_two_deviations(seeds: int, power: float) -> None:
    null = simulated(Setting(Noise.NORMAL, 10, seeds), STUDIES, np.random.default_rng(seeds))
    null[:, 3] -= 2
    assert (judged(null)[:, 3] == Verdict.BETTER).mean() == pytest.approx(power, abs=error(power))


@pytest.mark.parametrize(
    ("noise", "distribution"),
    [
        (Noise.NORMAL, stats.norm()),
        (Noise.HEAVY, stats.t(3, scale=1 / math.sqrt(3))),
        (Noise.SKEWED, stats.expon(loc=-1)),
        (Noise.BOTH_SKEWED, stats.laplace(scale=1 / math.sqrt(2))),
    ],
)
def test_noise_is_what_it_is_called(noise: Noise, distribution: stats.rv_continuous) -> None:
    chances = np.linspace(0.001, 0.999, 50)
    assert QUANTILES[noise](stats.norm.ppf(chances)) == pytest.approx(distribution.ppf(chances), abs=1e-9)
    assert (distribution.mean(), distribution.std()) == pytest.approx((0, 1), abs=1e-12)
    drawn = simulated(Setting(noise, 2, 4), 20_000, np.random.default_rng(4))
    ranks = stats.spearmanr(drawn[:, 0, 0], drawn[:, 1, 0]).statistic
    assert ranks == pytest.approx(6 / math.pi * math.asin(0.25), abs=0.03)  # of normal ones that correlate by one half


def test_many_studies_are_judged_as_one_is() -> None:
    differences = np.random.default_rng(5).normal(0.3, 0.3, size=(40, 3, 6))
    said = judged(differences, 0.6)
    assert len(set(said.ravel())) > 2
    for study, words in zip(differences, said, strict=True):
        p = statistics.holm([float(statistics.t_test(arm)) for arm in study])
        equivalence = statistics.holm([float(statistics.equivalence_test(arm, 0.6)) for arm in study])
        one_by_one = map(statistics.verdict, study, p, equivalence)
        assert words.tolist() == [str(verdict) for verdict in one_by_one]


@pytest.mark.parametrize(("count", "of"), [(0, 4000), (208, 4000), (7, 7)])
def test_the_interval_of_a_rate_is_that_of_statsmodels(count: int, of: int) -> None:
    assert Rate(count, of).interval == pytest.approx(proportion_confint(count, of, method="wilson"), abs=1e-12)


def test_the_page_shows_what_the_command_gives(five_by_five: Calibration) -> None:
    written = re.search(r"^\| normal \| 5 \| 5 \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert written is not None
    shown = [float(text) for text in written[1].split(" | ") if "–" not in text]
    found = [float(cell.text) for cell in calibration_table([five_by_five]).rows[0][3:] if "–" not in cell.text]
    assert shown == pytest.approx(found, abs=0.2)  # generators may differ in a last bit between machines


def test_the_command_prints_and_writes_its_table(tmp_path: Path) -> None:
    file = tmp_path / "new" / "table.csv"
    words = ["calibrate", "--studies", "50", "--arms", "2", "--arms", "3", "--seeds", "5", "--seed", "7"]
    answer = CliRunner().invoke(app, [*words, "--out", str(file)])
    assert answer.exit_code == 0, answer.output
    assert "both skewed" in answer.output
    assert "A verdict needs five seeds" in " ".join(answer.output.split())
    data = pd.read_csv(io.StringIO(file.read_text()))
    every = list(settings([2, 3], [5]))
    assert list(zip(data["noise"], data["arms"], data["seeds"], strict=True)) == [
        (str(setting.noise), setting.arms, setting.seeds) for setting in every
    ]
    assert data["false_claims"].tolist() == [calibrate(setting, 50, 7).claims.share for setting in every]


def test_an_unknown_ending_is_one_sentence() -> None:
    answer = CliRunner().invoke(app, ["calibrate", "--out", "table.cvs"])
    assert str(answer.exception) == (
        "--out table.cvs: unknown ending '.cvs'; did you mean '.csv'? known: .csv, .html, .md, .tex"
    )


def test_pairing_finds_what_independent_seeds_do_not() -> None:
    generator = np.random.default_rng(2)
    common = generator.normal(0, 0.02, size=(1000, 6))
    arm = common - 0.01 + generator.normal(0, 0.003, size=(1000, 6))
    reference = common + generator.normal(0, 0.003, size=(1000, 6))
    unpaired = np.roll(reference, 1, axis=-1)
    found, missed = (statistics.t_test(arm - other) <= 0.05 for other in (reference, unpaired))
    assert found.mean() > 0.95
    assert missed.mean() < 0.3
