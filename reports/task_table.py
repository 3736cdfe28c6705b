"""The table of a planning task: how many seeds of each arm solve it, when, how well, and what else was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ablations.stored import StoredArm
from reports import numbers
from reports.groups import grouped
from reports.references import references, the_reference, with_references
from reports.success import Success, SuccessDifference, interval_text
from reports.table import Cell, Column, Table, count_cell
from reports.task_notes import task_notes
from reports.task_results import FORCED, accuracy_column, chance_column, task_title, value_column
from reports.task_study import TaskStudy

DECIMALS = 1
"""Of shares in percent, which are counts of some hundred answers."""


def task_table(found: TaskStudy) -> Table:
    """Return the table, one row an arm."""
    study = found.study
    decimals = {name: _value_decimals(found, name) for name in found.shown_values}
    table = Table(
        name="planning",
        caption=f"Whether the seeds of each arm of “{study.name}” solve {task_title(found.main)}, "
        f"beside {the_reference(study)}.",
        columns=_columns(found),
        rows=tuple(_row(found, arm, decimals) for arm in study.arms),
        notes=tuple(task_notes(found)),
        data=pd.DataFrame([_data(found, arm) for arm in study.arms]),
    )
    return grouped(study, with_references(study, table))


def _columns(found: TaskStudy) -> tuple[Column, ...]:
    difference = "paired difference in accuracy" if found.paired else "difference in accuracy by seed"
    titles = [
        "inference parameters",
        "seeds",
        f"{task_title(found.main)} (%)",
        "chance (%)" if found.has_chance else "",
        "solved [95 % interval]",
        "steps until solved",
        f"{difference} [95 % interval]" if found.differences else "",
        "p (exact)" if found.has_p else "",
        "p (Holm)" if found.has_p and found.family > 1 else "",
        "gap to teacher forcing" if found.has_gap else "",
        *(f"{task_title(task)} (%)" for task in found.others),
        *(task_title(name) for name in found.shown_values),
    ]
    return (Column("arm"), *(Column(title, numeric=True) for title in titles if title))


def _row(found: TaskStudy, arm: StoredArm, decimals: Mapping[str, int]) -> tuple[Cell, ...]:
    success, difference = found.successes[arm.name], found.differences.get(arm.name)
    cells = [
        Cell(arm.name),
        count_cell(arm.inference_parameters),
        Cell(f"{success.count}/{len(arm.trials) or len(found.study.seeds)}", key=success.count),
        _share_cell(success.mean, success.half_width),
        _share_cell(success.chance) if found.has_chance else None,
        Cell(solved_text(success), key=success.solved / success.count if success.count else math.nan),
        Cell(steps_text(success), key=success.median_steps),
        _difference_cell(found, arm, difference) if found.differences else None,
        _p_cell(difference.p if difference else math.nan) if found.has_p else None,
        _p_cell(difference.p_adjusted if difference else math.nan) if found.has_p and found.family > 1 else None,
        _points_cell(_gap(found, arm.name, found.gap_task)) if found.gap_task is not None else None,
        *(_share_cell(found.mean(arm.name, accuracy_column(task))[0]) for task in found.others),
        *(_value_cell(found, arm.name, name, decimals[name]) for name in found.shown_values),
    ]
    return tuple(cell for cell in cells if cell is not None)


def solved_text(success: Success) -> str:
    """Return "3/5 [23 %, 88 %]", or the count alone below three seeds; an en dash where no seed has finished."""
    if not success.count:
        return numbers.MISSING
    return f"{success.solved}/{success.count}{interval_text(success)}"


def steps_text(success: Success) -> str:
    """Return the median step of solving, and how many seeds did not where only some did."""
    left = success.count - success.solved
    return numbers.whole(success.median_steps) + (f" ({left} did not)" if left and success.solved else "")


def difference_text(difference: SuccessDifference) -> str:
    """Return the mean difference with its interval, in percentage points."""
    low, high = difference.interval
    return numbers.difference(100 * difference.mean, 100 * low, 100 * high, DECIMALS)


def _share_cell(mean: float, half_width: float = math.nan) -> Cell:
    return Cell(numbers.with_half_width(100 * mean, 100 * half_width, DECIMALS), key=mean)


def _points_cell(value: float) -> Cell:
    return Cell(numbers.fixed(100 * value, DECIMALS, sign=True), key=value)


def _gap(found: TaskStudy, arm: str, task: str) -> float:
    gaps = found.gaps(arm, task)
    return float(gaps.mean()) if len(gaps) else math.nan


def _p_cell(p: float) -> Cell:
    return Cell(numbers.p_value(p), key=p)


def _difference_cell(found: TaskStudy, arm: StoredArm, difference: SuccessDifference | None) -> Cell:
    if difference is None:
        return Cell(numbers.MISSING, key=0.0 if arm.name in references(found.study) else math.nan)
    return Cell(difference_text(difference), key=difference.mean)


def _value_decimals(found: TaskStudy, name: str) -> int:
    return numbers.shared_decimals(found.mean(arm.name, value_column(name))[1] for arm in found.study.arms)


def _value_cell(found: TaskStudy, arm: str, name: str, decimals: int) -> Cell:
    mean, half_width = found.mean(arm, value_column(name))
    if not math.isfinite(half_width):
        return Cell(numbers.significant(mean, 4), key=mean)
    return Cell(numbers.with_half_width(mean, half_width, decimals), key=mean)


def _data(found: TaskStudy, arm: StoredArm) -> dict[str, Any]:
    success, difference = found.successes[arm.name], found.differences.get(arm.name)
    data: dict[str, Any] = {
        "arm": arm.name,
        "is_reference": arm.name in references(found.study),
        "is_control": arm.control,
        "inference_parameters": arm.inference_parameters,
        "seeds_planned": len(arm.trials),
        "seeds_done": success.count,
        "task": found.main,
        "accuracy_mean": success.mean,
        "accuracy_half_width": success.half_width,
        "chance": success.chance,
        "seeds_solved": success.solved,
        "solved_share_low": success.interval[0],
        "solved_share_high": success.interval[1],
        "steps_until_solved_median": success.median_steps,
        **_difference_data(difference),
    }
    for task in found.tasks:
        column = accuracy_column(task)
        data[f"{column}_mean"], data[f"{column}_half_width"] = found.mean(arm.name, column)
        data[f"{chance_column(task)}_mean"] = found.mean(arm.name, chance_column(task))[0]
        if task + FORCED in found.tasks:
            data[f"{column}_gap_to_teacher_forcing"] = _gap(found, arm.name, task)
    for name in found.values:
        column = value_column(name)
        data[f"{column}_mean"], data[f"{column}_half_width"] = found.mean(arm.name, column)
    return data


def _difference_data(difference: SuccessDifference | None) -> dict[str, Any]:
    low, high = difference.interval if difference else (math.nan, math.nan)
    return {
        "pairs": len(difference.seeds) if difference else None,
        "difference_mean": difference.mean if difference else math.nan,
        "difference_low": low,
        "difference_high": high,
        "pairs_solved_by_arm_only": difference.arm_only if difference else None,
        "pairs_solved_by_reference_only": difference.reference_only if difference else None,
        "family": difference.family if difference else None,
        "p_exact": difference.p if difference else math.nan,
        "p_exact_holm": difference.p_adjusted if difference else math.nan,
        "p_sign_flip": difference.p_sign_flip if difference else math.nan,
    }
