"""The figures of planning tasks, each with the file name, title and caption it appears under."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.figures.horizons import MOST_SWEEPS_WITH_INTERVALS
from reports.figures.plane_drawing import MOST_PLANES
from reports.figures.probe_arms import Drawing
from reports.figures.style import MOST_ARMS_WITH_SEEDS
from reports.figures.sweeps import key_title
from reports.figures.task_curves import MOST_SETTINGS, several_settings, task_curves
from reports.figures.task_heat_maps import objective_heat_map, task_heat_map
from reports.figures.task_lines import all_numbers, line_panels, swept_keys
from reports.figures.task_maps import GROUP, TaskMap, task_maps
from reports.figures.task_sweeps import MOST_PANELS, is_beside, task_sweep
from reports.figures.tasks import MOST_TASKS, task_accuracy
from reports.guessing import ERRORS
from reports.statistics import EXPLORATORY_PAIRS
from reports.task_results import SOLVED, chance_column, measured_tasks, task_title
from reports.wording import named

PLACE = re.compile(r"objective\.(\d+\.)?attach")


def task_drawings(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Drawing]:
    """Yield the figures of a study's planning tasks; nothing where no trial was measured at one."""
    frames = (study, trials, curves)
    tasks = measured_tasks(curves)
    if not tasks:
        return
    yield "task_accuracy", "Planning tasks", TASKS_CAPTION + _more_tasks(tasks), task_accuracy(*frames)
    yield "task_curves", "Planning tasks over training", _curves_caption(study, tasks), task_curves(*frames)
    for of in task_maps(study):
        yield (
            f"task_heat_map_{_file_name(of.rows)}_and_{_file_name(of.columns)}",
            f"Accuracy over {_axis(of.rows)} and {_axis(of.columns)}",
            _map_caption(of, tasks[0], curves),
            task_heat_map(*frames, rows=of.rows, columns=of.columns),
        )
        if of.has_equal:
            yield (
                f"objective_heat_map_{_file_name(of.rows)}_and_{_file_name(of.columns)}",
                f"What the objective foresees over {_axis(of.rows)} and {_axis(of.columns)}",
                FORESEEN_CAPTION + _left_out(len(of.planes), MOST_PLANES, "panels"),
                objective_heat_map(*frames, rows=of.rows, columns=of.columns),
            )
    for key in swept_keys(study):
        yield (
            f"task_sweep_{_file_name(key)}",
            _sweep_title(study, key),
            _sweep_caption(study, key, tasks[0]),
            task_sweep(*frames, key=key),
        )


TASKS_CAPTION = (
    "Accuracy at planning tasks at the end of training, beside chance (dashed): the dot is the mean over trials, the "
    "line its 95 % t interval (from three on), small marks are trials. A seed finds the answer or not: see the marks."
)
FORESEEN_CAPTION = (
    "The objective's held-out loss at the end of training, over that of the best constant; the mean over trials. "
    "Below 1 the model foresees some of what the objective asks for, at 1 or above nothing that this loss can tell. A "
    "dot has no such loss. Outlined cells: the objective looks as far ahead as the task's delay."
)


def _curves_caption(study: StoredStudy, tasks: list[str]) -> str:
    settings = several_settings(study)
    lines = "thin lines are trials, bold ones the mean of an arm"
    if not settings and len(study.arms) > MOST_ARMS_WITH_SEEDS:
        lines = "each line is the mean of an arm over its trials"
    text = (
        f"Accuracy at each evaluation: {lines}, the dashed grey one is chance. Where seeds jump from chance to the "
        "answer at different steps, the mean climbs in steps though no seed does."
    )
    if settings:
        text += f" One panel is one setting of the task, and shows accuracy at {task_title(tasks[0])}."
        return text + _left_out(settings, MOST_SETTINGS, "settings")
    return text + _more_tasks(tasks)


def _more_tasks(tasks: list[str]) -> str:
    """Say how many accuracies have no panel; nothing where all have one."""
    return f" Shown are the first {MOST_TASKS} of {len(tasks)} accuracies." if len(tasks) > MOST_TASKS else ""


def _map_caption(of: TaskMap, task: str, curves: pd.DataFrame) -> str:
    text = (
        f"Mean accuracy at {task_title(task)} at the end of training, in %, and below it how many seeds solved it "
        f"(≥ {100 * SOLVED:g} %; from {EXPLORATORY_PAIRS} seeds on)."
    )
    chance = _chance(task, curves)
    if chance:
        text += (
            f" Chance is {chance}: grey cells lie no further above it than as many guesses may by luck ({ERRORS} "
            "standard errors)."
        )
    if of.has_equal:
        text += " Outlined cells: the objective looks as far ahead as the task's delay."
    return text + _left_out(len(of.planes), MOST_PLANES, "panels")


def _chance(task: str, curves: pd.DataFrame) -> str:
    """Return what guessing gets, or from what to what; "" where it is not told."""
    column = chance_column(task)
    values = curves[column].dropna().astype(float) if column in curves else pd.Series(dtype=float)
    if values.empty:
        return ""
    low, high = (f"{numbers.significant(100 * value)} %" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _sweep_caption(study: StoredStudy, key: str, task: str) -> str:
    panels = line_panels(study, key)
    text = f"Accuracy at {task_title(task)} at the end of training: dots are trials, the lines join their means."
    if len({line.name for panel in panels for line in panel.lines}) <= MOST_SWEEPS_WITH_INTERVALS:
        text += (
            f" Pale bars are 95 % t intervals of the means, cut at 0 and 100 % (from {EXPLORATORY_PAIRS} trials on); "
            "they take two heaps of seeds for one."
        )
    text += " Chance is dashed."
    if is_beside(study, panels):
        text += f" The band is the reference {named(study.reference)} with its interval."
    return text + _left_out(len(panels), MOST_PANELS, "combinations of the other factors")


def _left_out(count: int, most: int, what: str) -> str:
    return f" Shown are the first {most} of {count} {what}." if count > most else ""


def _sweep_title(study: StoredStudy, key: str) -> str:
    if PLACE.fullmatch(key):
        return "Accuracy by where the objective attaches"
    return f"Accuracy {'over' if all_numbers(study, key) else 'by'} {key_title(key)}"


def _axis(key: str) -> str:
    return "groups" if key == GROUP else key_title(key)


def _file_name(text: str) -> str:
    """Return a text as a part of a file's name."""
    return re.sub("[^A-Za-z0-9]+", "_", text)[:60]
