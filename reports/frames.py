"""The two frames of a study, made whole: every column there, every planned trial a row, every number a number.

`ablations.load` and `ablations.curves` give the frames; a study that has just begun, or one written by hand in a
notebook, may lack columns and rows. Everything in this room reads frames that went through here; doing it twice changes
nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ablations.frames import DIGESTS, EFFORT, LOSSES, SIZES, STATE, TASK
from ablations.stored import StoredStudy

IDENTITY = ("trial", "arm", "seed", *STATE, *DIGESTS, "initial_weights")
MEASURES = (*LOSSES, *SIZES, *EFFORT, "attempts", "step")
CURVE_MEASURES = ("step", "tokens", "seconds", *LOSSES)
STATUSES = ("done", "failed", "running", "pending")


def complete_trials(study: StoredStudy, trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per planned (arm, seed) in the study's order, with every column of the contract.

    A planned trial without a row becomes a pending one; rows of arms that are not in the plan are left out; infinite
    measures become NaN.
    """
    planned = pd.DataFrame(
        [
            {"arm": arm.name, "seed": seed, "planned_trial": trial}
            for arm in study.arms
            for seed, trial in sorted(arm.trials.items())
        ],
        columns=["arm", "seed", "planned_trial"],
    )
    found = trials.copy()
    for column in (*IDENTITY, *MEASURES):
        if column not in found:
            found[column] = None
    found["seed"] = pd.to_numeric(found["seed"]).astype("int64")
    whole = planned.astype({"seed": "int64"}).merge(found.astype({"arm": object}), on=["arm", "seed"], how="left")
    whole["trial"] = whole["trial"].where(whole["trial"].notna(), whole["planned_trial"])
    whole["status"] = whole["status"].where(whole["status"].isin(STATUSES), "pending")
    for column in MEASURES:
        whole[column] = _finite(whole[column])
    return whole.drop(columns="planned_trial")


def complete_curves(study: StoredStudy, curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the planned arms, ordered by arm, seed and step, with every column of the contract."""
    whole = curves.copy()
    for column in ("trial", "arm", "seed", *CURVE_MEASURES):
        if column not in whole:
            whole[column] = None
    tasks = [column for column in whole.columns if str(column).startswith(TASK)]
    numeric = [*CURVE_MEASURES, *diagnostic_columns(whole), *tasks]
    # At once: many diagnostics set one by one leave a fragmented frame, of which pandas complains to the reader.
    whole = pd.concat([whole.drop(columns=numeric), whole[numeric].apply(_finite)], axis=1)
    order = {arm.name: position for position, arm in enumerate(study.arms)}
    whole = whole[whole["arm"].isin(list(order))]
    whole = whole.assign(arm_position=whole["arm"].map(order))
    return whole.sort_values(["arm_position", "seed", "step"], kind="stable").drop(columns="arm_position")


def diagnostic_columns(curves: pd.DataFrame) -> list[str]:
    """Return the columns that objectives report, ``<objective>/<metric>``."""
    return [str(column) for column in curves.columns if "/" in str(column) and not str(column).startswith(TASK)]


def task_columns(curves: pd.DataFrame) -> list[str]:
    """Return the planning tasks that trials were measured at, ``task:<name>/accuracy``, in the order of the columns."""
    ends = "/accuracy"
    columns = [str(column) for column in curves.columns]
    return [name[len(TASK) : -len(ends)] for name in columns if name.startswith(TASK) and name.endswith(ends)]


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Return the rows as named tuples; what a column holds is known from the contract, not from pandas' types."""
    return iter(frame.itertuples())


def results(trials: pd.DataFrame, arm: str, measure: str = "validation_loss") -> pd.Series[float]:
    """Return a measure of an arm's finished trials, indexed by seed; trials without a finite value are left out."""
    rows = trials[(trials["arm"] == arm) & (trials["status"] == "done")]
    values: pd.Series[float] = rows.set_index("seed")[measure].astype(float)
    return values.dropna()


def configuration(study: StoredStudy, trials: pd.DataFrame) -> pd.DataFrame:
    """Return what differs between the arms: one row per arm (index), one column per dotted configuration key.

    Values are those of the resolved configuration; None where an arm has no such key.
    """
    known = {*IDENTITY, *MEASURES}
    settings = {"objective", *study.factors, *(key for arm in study.arms for key in arm.settings)}
    keys = [
        str(column)
        for column in trials.columns
        if column not in known and ("." in str(column) or column in settings) and "/" not in str(column)
    ]
    firsts = trials.drop_duplicates("arm").set_index("arm")[keys].astype(object)
    firsts = firsts.reindex([arm.name for arm in study.arms])
    for key in keys:
        firsts[key] = pd.Series([_plain(value) for value in firsts[key]], index=firsts.index, dtype=object)
    return firsts[[key for key in keys if len({identity(value) for value in firsts[key]}) > 1]]


def identity(value: Any) -> str:
    """Return a text that is equal for equal configuration values, lists and mappings included."""
    return json.dumps(value, sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    """Return a configuration value without numpy types; None for a missing one; whole floats as integers.

    A column of integers with one gap is read by pandas as floats: 11 would be shown as 11.0.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _finite(values: pd.Series[Any]) -> pd.Series[float]:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))
