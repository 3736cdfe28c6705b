"""From a pilot to a plan, against statsmodels' power and a simulation of pilots."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from ablations.stored import StoredStudy
from deepsight.errors import UserError
from reports import statistics
from reports.planning import seeds_needed
from tests.reports import synthetic


def pilot(seeds: int = 4, deviations: tuple[float, ...] = (0.004, 0.008)) -> tuple[StoredStudy, pd.DataFrame]:
    """A reference and arms whose paired differences have exactly these standard deviations; 30 s a trial."""
    arms = {"base": {}, **{f"arm {place}": {"objective.n": place} for place, _ in enumerate(deviations)}}
    study = synthetic.study_of(arms, "base", seeds)
    base = np.asarray(synthetic.seed_losses(4, 0, seeds))
    shape = np.linspace(-1, 1, seeds) / np.linspace(-1, 1, seeds).std(ddof=1)
    losses = {"base": base.tolist()}
    losses |= {f"arm {place}": (base + 0.01 + by * shape).tolist() for place, by in enumerate(deviations)}
    return study, synthetic.trials_of(study, losses).assign(seconds=30.0)


def first_with_power(effect: float, level: float) -> int:
    return next(seeds for seeds in range(5, 1000) if TTestPower().power(effect, seeds, level) >= 0.8)


@pytest.mark.parametrize(("difference", "family"), [(0.01, 2), (0.004, 2), (0.01, 1)])
def test_seeds_are_the_first_with_enough_power(difference: float, family: int) -> None:
    study, trials = pilot(4, (0.004, 0.008)[-family:])
    _, table = seeds_needed(study, trials, difference)
    data = table.data.set_index("arm")
    for arm, deviation in zip(list(data.index)[1:], (0.004, 0.008)[-family:], strict=True):
        limit = deviation * math.sqrt(3 / stats.chi2.ppf(0.2, 3))
        assert data.loc[arm, "deviation"] == pytest.approx(deviation, rel=1e-9)
        assert data.loc[arm, "deviation_limit"] == pytest.approx(limit, rel=1e-9)
        assert data.loc[arm, "seeds"] == first_with_power(difference / deviation, 0.05 / family)
        assert data.loc[arm, "seeds_at_limit"] == first_with_power(difference / limit, 0.05 / family)


def test_the_sentence_takes_the_arm_that_needs_most_and_leaves_out_what_is_done() -> None:
    study, trials = pilot()
    sentence, table = seeds_needed(study, trials, 0.01, workers=2)
    needed, at_limit = (int(table.data[column].max()) for column in ("seeds", "seeds_at_limit"))
    hours, hours_at_limit = (3 * (count - 4) * 30 / 2 for count in (needed, at_limit))
    assert f"you need {needed} seeds ({at_limit} if the deviation is at its upper limit), about " in sentence
    assert sentence.startswith("For a difference of 0.01 nats per token ")
    assert sentence.endswith(" with 2 workers.")
    last = table.rows[-1]
    assert [cell.key for cell in last[-2:]] == [hours, hours_at_limit]
    assert [last[4].text, last[5].text] == [str(needed), str(at_limit)]
    assert table.data["seconds_left"].sum() == hours
    assert "So few pairs (4) estimate a deviation badly" in " ".join(table.notes)


def test_the_upper_limit_lies_above_the_truth_four_times_in_five() -> None:
    pilots = np.random.default_rng(8).normal(0, 1, size=(4000, 3))
    limits = pilots.std(axis=-1, ddof=1) * statistics.deviation_limit(1, 3)
    above = (limits >= 1).mean()
    assert above == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / 4000))
    assert math.isnan(statistics.deviation_limit(0.1, 1))


def test_what_is_done_may_be_enough_and_what_is_needed_out_of_reach() -> None:
    study, trials = pilot(6, (0.001, 0.0))
    assert seeds_needed(study, trials, 0.1)[0].endswith(
        "you need 5 seeds (5 if the deviation is at its upper limit), and the pilot has them."
    )
    sentence, table = seeds_needed(study, trials, 1e-6)
    assert "you need more than 1,000 seeds: another design" in sentence
    assert [cell.text for cell in table.rows[-1][-2:]] == ["–", "–"]


def test_the_control_costs_time_and_proves_nothing() -> None:
    study, trials = pilot(4, (0.004, 0.5))
    control = study.arms[2].model_copy(update={"control": True})
    with_control = study.model_copy(update={"arms": [*study.arms[:2], control]})
    _, table = seeds_needed(with_control, trials, 0.01)
    assert table.data["seeds"].tolist()[1] == first_with_power(2.5, 0.05)
    assert math.isnan(table.data["seeds"].tolist()[2])
    assert table.data["seconds_left"].tolist()[2] > 0


def test_arms_that_mean_the_same_run_once_and_unfinished_ones_by_their_flops() -> None:
    study, trials = pilot(4, (0.004, 0.004, 0.004))
    twin = study.arms[2].model_copy(update={"trials": study.arms[1].trials})
    slow = study.arms[3].model_copy(update={"flops_per_token": 2 * study.arms[3].flops_per_token})
    study = study.model_copy(update={"arms": [*study.arms[:2], twin, slow]})
    trials.loc[trials["arm"] == slow.name, ["status", "seconds", "validation_loss"]] = ["pending", math.nan, math.nan]
    _, table = seeds_needed(study, trials, 0.01)
    seeds = int(table.data["seeds"].max())
    assert table.rows[-1][-2].key == pytest.approx(2 * (seeds - 4) * 30 + seeds * 60)
    assert any("Nothing is known of “arm 2”" in note for note in table.notes)


@pytest.mark.parametrize("difference", [0.0, -0.01, math.nan, math.inf])
def test_a_difference_is_a_positive_number(difference: float) -> None:
    with pytest.raises(UserError, match="a positive number of nats per token"):
        seeds_needed(*pilot(), difference)


def test_a_plan_needs_a_pilot() -> None:
    study, _ = pilot()
    with pytest.raises(UserError, match="a plan needs a pilot"):
        seeds_needed(study, pd.DataFrame(), 0.01)


@pytest.mark.parametrize("make", [synthetic.half_finished, synthetic.hostile])
def test_any_pilot_has_a_plan(make) -> None:  # type: ignore[no-untyped-def]
    study, trials, _ = make()
    sentence, table = seeds_needed(study, trials, 0.01, workers=3)
    assert sentence.endswith(".")
    assert len(table.rows) == len(study.arms) + 1
