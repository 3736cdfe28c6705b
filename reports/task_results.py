"""What finished trials reached at planning tasks: shares of right answers, other numbers, the step of solving."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ablations.frames import TASK
from reports.frames import task_columns

SOLVED = 0.95
"""A trial whose accuracy is at least this has solved its task; published runs lie far above it, or at chance."""
FORCED = "_forced"
"""How a task's name ends whose answers are asked for token by token, with the right ones before them shown."""


def accuracy_column(task: str) -> str:
    """Return the column of a task's share of right answers, in [0, 1]."""
    return f"{TASK}{task}/accuracy"


def chance_column(task: str) -> str:
    """Return the column of the share that guessing gets right."""
    return f"{TASK}{task}/chance"


def value_column(name: str) -> str:
    """Return the column of a number that is no share."""
    return f"{TASK}{name}/value"


def measured_tasks(curves: pd.DataFrame) -> list[str]:
    """Return the tasks with an accuracy in at least one evaluation, in the order of the columns: the main one first."""
    return [task for task in task_columns(curves) if curves[accuracy_column(task)].notna().any()]


def measured_values(curves: pd.DataFrame) -> list[str]:
    """Return the names of the numbers that are no shares, ``task:<name>/value``, in the order of the columns."""
    names = [str(column)[len(TASK) : -len("/value")] for column in curves.columns if str(column).startswith(TASK)]
    columns = {name: value_column(name) for name in names}
    return [name for name, column in columns.items() if column in curves and curves[column].notna().any()]


def task_title(name: str) -> str:
    """Return a task's name in words: ``full_path_forced`` → "full path, teacher-forced"."""
    words = name.removesuffix(FORCED).replace("_", " ")
    return f"{words}, teacher-forced" if name.endswith(FORCED) else words


def last_evaluations(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return the last evaluation of each arm's finished trials; without those whose metrics end before the training.

    Args:
        trials, curves: completed ones.

    """
    done = trials.loc[trials["status"] == "done"].drop_duplicates("trial").set_index("trial")["step"].to_dict()
    rows = curves[curves["trial"].isin(list(done))]
    # Arms that mean the same run share its trial, and each has a row of its own.
    lasts = rows.sort_values("step", kind="stable").drop_duplicates(["arm", "trial"], keep="last")
    ends = lasts["trial"].map(done).astype(float)
    return lasts[~(lasts["step"] < ends)]


def last_accuracies(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row a finished trial and task: `arm`, `seed`, `task`, `accuracy`, `chance` (NaN where not told).

    Args:
        trials, curves: completed ones; a task's columns are `task:NAME/accuracy` and `task:NAME/chance`.

    """
    lasts = last_evaluations(trials, curves)
    found = []
    for task in task_columns(curves):
        accuracy, chance = accuracy_column(task), chance_column(task)
        known = lasts[chance] if chance in lasts else pd.Series(np.nan, index=lasts.index)
        rows = lasts[["arm", "seed"]].assign(task=task, accuracy=lasts[accuracy], chance=known)
        found.append(rows.dropna(subset="accuracy"))
    return pd.concat(found) if found else pd.DataFrame(columns=["arm", "seed", "task", "accuracy", "chance"])


def at_the_end(lasts: pd.DataFrame, arm: str, column: str) -> pd.Series[float]:
    """Return what an arm's trials have in a column of `last_evaluations`, by seed; those without a number left out."""
    if column not in lasts:
        return pd.Series(np.empty(0), index=pd.Index([], name="seed"))
    values: pd.Series[float] = lasts[lasts["arm"] == arm].set_index("seed")[column].sort_index().astype(float)
    return values.dropna()


def step_of_solving(evaluations: pd.DataFrame, column: str) -> float:
    """Return the first step from which on a trial's accuracy is never below `SOLVED` again; NaN where there is none.

    Args:
        evaluations: of one trial, with a column `step`.
        column: of the accuracy; evaluations without one are left out.

    """
    known = evaluations.dropna(subset=column).sort_values("step", kind="stable")
    solved = known[column].to_numpy(dtype=np.float64) >= SOLVED
    below = np.flatnonzero(~solved)
    first = int(below[-1]) + 1 if below.size else 0
    return float(known["step"].iloc[first]) if first < len(known) else math.nan
