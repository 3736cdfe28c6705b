"""Frames are made whole, and what differs between arms is found."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal

from reports.frames import complete_curves, complete_trials, configuration, results
from tests.reports import synthetic


def test_completing_twice_changes_nothing() -> None:
    study, trials, curves = synthetic.half_finished()
    once = complete_trials(study, trials)
    assert_frame_equal(complete_trials(study, once), once)
    whole = complete_curves(study, curves)
    assert_frame_equal(complete_curves(study, whole), whole)


def test_an_empty_frame_becomes_pending_trials() -> None:
    study, _, _ = synthetic.four_arms()
    trials = complete_trials(study, pd.DataFrame())
    assert len(trials) == 20
    assert set(trials["status"]) == {"pending"}
    assert trials["trial"].tolist() == [trial for arm in study.arms for trial in arm.trials.values()]
    assert complete_curves(study, pd.DataFrame()).empty


def test_many_diagnostics_bring_no_complaint_of_pandas() -> None:
    study, _, curves = synthetic.four_arms()
    many = curves.assign(**{f"objective/metric {number}": "1.5" for number in range(150)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = complete_curves(study, many)
    assert (whole["objective/metric 149"] == 1.5).all()


def test_rows_of_unknown_arms_and_infinite_losses_are_left_out() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[0, "validation_loss"] = math.inf
    strange = trials.assign(arm="not planned")
    whole = complete_trials(study, pd.concat([trials, strange]))
    assert len(whole) == 20
    assert len(results(whole, "baseline")) == 4


def test_only_what_differs_is_a_difference() -> None:
    study, trials, _ = synthetic.grid(1)
    trials["model.width"] = 64
    trials["parameters"] = range(len(trials))
    trials["anything"] = range(len(trials))
    table = configuration(study, trials)
    assert set(table.columns) == {"model.architecture", "objective.n", "model.layers", "objective.aggregator"}
    assert table.index.tolist() == [arm.name for arm in study.arms]
    assert table.loc["n=3 layers=[2, 2] aggregator=decay", "model.layers"] == [2, 2]


def test_values_are_plain_python() -> None:
    study, trials, _ = synthetic.grid(1)
    trials["objective.n"] = trials["objective.n"].astype("float64")
    trials["model.layers"] = [None if value is None else np.array(value) for value in trials["model.layers"]]
    table = configuration(study, trials)
    assert table["objective.n"].tolist()[:3] == [None, None, 3]
    assert isinstance(table["objective.n"].iloc[2], int)
    assert table["model.layers"].iloc[2] == [2, 2]
