"""Heat maps of planning tasks over two numbers that a study sweeps: accuracy, and what an objective foresees."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports import numbers
from reports.figures.plane_drawing import Cell, Scale, draw_planes, shown_planes
from reports.figures.style import drawn
from reports.figures.task_maps import Plane, task_maps
from reports.frames import diagnostic_columns
from reports.guessing import is_guessing
from reports.statistics import EXPLORATORY_PAIRS
from reports.success import Success, successes
from reports.task_results import last_evaluations, measured_tasks

# Viridis is even in lightness, and told apart by the colour-blind (Smith & van der Walt, 2015); yellow is good.
ACCURACY = Scale("accuracy (%)", 100, "viridis", "no better than guessing")
FORESEEN = Scale("loss over trivial loss", 1, "viridis_r", "no better than a constant")
OVER_TRIVIAL = "/loss_over_trivial"


@drawn
def task_heat_map(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, rows: str, columns: str
) -> Figure | None:
    """Draw the mean accuracy at the main task in each cell of one of a study's `task_maps`, named by its two axes.

    There is one panel a plane, at most six, all in one scale. From three seeds on, how many of them solved the task
    stands below the mean. Cells no better than guessing are grey; those in which the objective looks as far as the task
    is determined have an outline. None without a task, the map, or a cell with a finished trial.
    """
    tasks = measured_tasks(curves)
    found = successes(study, trials, curves, tasks[0]) if tasks else {}
    cells = {name: _accuracy(study, success) for name, success in found.items() if success.count}
    planes = shown_planes(_planes(study, rows, columns), cells)
    return draw_planes(planes, columns, cells, ACCURACY) if planes else None


@drawn
def objective_heat_map(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, rows: str, columns: str
) -> Figure | None:
    """Draw an objective's held-out loss over that of the best constant in each cell of one of a study's `task_maps`.

    It is the mean over finished trials at the end of training: how much of what the objective asks for the model
    foresees. Cells at 1 or above are grey. None without such a loss, or where several objectives report one.
    """
    reported = [column for column in diagnostic_columns(curves) if column.endswith(OVER_TRIVIAL)]
    if len(reported) != 1:
        return None
    means = last_evaluations(trials, curves).groupby("arm")[reported[0]].mean().dropna()
    cells = {str(arm): _foreseen(float(mean)) for arm, mean in means.items()}
    planes = shown_planes(_planes(study, rows, columns), cells)
    return draw_planes(planes, columns, cells, FORESEEN) if planes else None


def _planes(study: StoredStudy, rows: str, columns: str) -> list[Plane]:
    return [plane for of in task_maps(study) if (of.rows, of.columns) == (rows, columns) for plane in of.planes]


def _accuracy(study: StoredStudy, success: Success) -> Cell:
    """Return the cell of a mean in percent, and from three seeds on of how many solved the task."""
    mean = 100 * success.mean
    solved = f"\n{success.solved}/{success.count}" if success.count >= EXPLORATORY_PAIRS else ""
    text = f"{numbers.fixed(mean, 0)}{solved}"
    return Cell(text, None if is_guessing(study, success) else ACCURACY.colour(mean))


def _foreseen(ratio: float) -> Cell:
    return Cell(numbers.fixed(ratio, 2), None if ratio >= 1 else FORESEEN.colour(ratio))
