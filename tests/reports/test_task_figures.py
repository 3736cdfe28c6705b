"""The figure of planning tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports import figures
from reports.figures.catalogue import all_figures
from reports.figures.tasks import last_accuracies
from reports.frames import complete_curves, complete_trials, diagnostic_columns, task_columns
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import drawn, with_tasks


def test_each_task_has_a_panel_with_every_trial_its_mean_and_chance() -> None:
    study, trials, curves = with_tasks()
    panels = drawn(figures.task_accuracy(study, trials, curves)).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["path-star", "delayed recall"]
    for axes, task, chance in zip(panels, ("path-star", "delayed recall"), (0.5, 0.1), strict=True):
        ends = curves[curves["step"] == curves["step"].max()]
        marks = [line for line in axes.lines if line.get_marker() == "|"]
        means = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() != "|"]
        for arm, seeds, mean in zip(study.arms, marks, means, strict=True):
            expected = ends.loc[ends["arm"] == arm.name, f"task:{task}/accuracy"].to_numpy()
            assert np.asarray(seeds.get_xdata()) == pytest.approx(expected)
            assert mean.get_xdata()[0] == pytest.approx(expected.mean())
        assert [line.get_xdata() for line in axes.lines if line.get_linestyle() == "--"] == [[chance, chance]]


def test_intervals_end_where_accuracies_do() -> None:
    study, trials, curves = with_tasks()
    axes = drawn(figures.task_accuracy(study, trials, curves)).axes[0]
    intervals = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 1.6]
    assert len(intervals) == 4
    ends = last_accuracies(complete_trials(study, trials), complete_curves(study, curves))
    cut = []
    for arm in study.arms:
        low, high = t_interval(ends.loc[(ends["arm"] == arm.name) & (ends["task"] == "path-star"), "accuracy"])
        cut.append((max(low, 0.0), min(high, 1.0)))
    assert intervals == [pytest.approx(one) for one in cut]
    assert any(high == 1.0 for _, high in intervals)


def test_only_finished_trials_count_and_only_their_last_evaluation() -> None:
    study, trials, curves = with_tasks(synthetic.half_finished)
    ends = last_accuracies(complete_trials(study, trials), complete_curves(study, curves))
    done = trials[trials["status"] == "done"]
    assert sorted(zip(ends["arm"], ends["seed"], strict=True)) == sorted(
        list(zip(done["arm"], done["seed"], strict=True)) * 2
    )


def test_tasks_are_no_objectives_and_studies_without_them_have_no_figure() -> None:
    study, trials, curves = with_tasks()
    assert task_columns(curves) == ["path-star", "delayed recall"]
    assert not [column for column in diagnostic_columns(curves) if column.startswith("task")]
    names = {one.name for one in all_figures(study, trials, curves)}
    assert names - {one.name for one in all_figures(*synthetic.four_arms())} == {"task_accuracy"}


def test_a_chance_that_is_not_told_is_not_drawn() -> None:
    study, trials, curves = with_tasks()
    axes = drawn(figures.task_accuracy(study, trials, curves.drop(columns="task:path-star/chance"))).axes[0]
    assert not [line for line in axes.lines if line.get_linestyle() == "--"]
    empty = curves.assign(**{"task:path-star/accuracy": pd.NA}).drop(columns="task:delayed recall/accuracy")
    assert figures.task_accuracy(study, trials, empty) is None
