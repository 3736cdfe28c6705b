"""What guessing reaches by luck."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.guessing import is_guessing
from reports.success import Success
from tests.reports import synthetic


def success(*accuracies: float, chance: float) -> Success:
    seeds = tuple(range(len(accuracies)))
    return Success("arm", seeds, np.array(accuracies), np.full(len(seeds), math.nan), chance)


def study_of(windows: int | None, config: bool = False):  # type: ignore[no-untyped-def]
    study = synthetic.study_of({"arm": {}}, "arm", 3)
    if config:
        arms = [study.arms[0].model_copy(update={"config": {"evaluation": {"windows": windows}}})]
        return study.model_copy(update={"arms": arms, "base": {"evaluation": {"windows": 1}}})
    return study.model_copy(update={"base": {"evaluation": {"windows": windows}}})


@pytest.mark.parametrize("chance", [0.5, 0.25, 0.1])
def test_guesses_are_called_guesses_in_39_of_40_studies(chance: float) -> None:
    random = np.random.default_rng(4)
    shares = random.binomial(200, chance, (4000, 3)) / 200
    called = np.mean([is_guessing(study_of(200), success(*row, chance=chance)) for row in shares])
    assert called == pytest.approx(0.975, abs=0.012)


def test_luck_is_that_of_all_sequences_of_all_seeds() -> None:
    limit = 0.25 + 1.959964 * math.sqrt(0.25 * 0.75 / (400 * 2))
    for config in (False, True):
        study = study_of(400, config)
        assert is_guessing(study, success(limit - 0.001, limit - 0.001, chance=0.25))
        assert not is_guessing(study, success(limit + 0.001, limit + 0.001, chance=0.25))


def test_without_the_number_of_sequences_only_chance_itself_is_guessing() -> None:
    for study in (study_of(None), synthetic.study_of({"arm": {}}, "arm", 3)):
        assert is_guessing(study, success(0.25, chance=0.25))
        assert not is_guessing(study, success(0.2501, chance=0.25))


def test_nothing_is_said_without_chance_or_seeds() -> None:
    assert not is_guessing(study_of(400), success(0.0, chance=math.nan))
    assert not is_guessing(study_of(400), success(chance=0.5))
    assert is_guessing(study_of(400), success(0.0, chance=0.0))
