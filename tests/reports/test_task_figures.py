"""The figures of planning tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports import figures
from reports.figures.catalogue import all_figures
from reports.frames import complete_curves, complete_trials, diagnostic_columns, task_columns
from reports.statistics import t_interval
from reports.task_results import last_accuracies
from tests.reports import synthetic
from tests.reports.drawings import drawn, drawn_once, lines, text_problems, with_tasks


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
    assert names - {one.name for one in all_figures(*synthetic.four_arms())} == {"task_accuracy", "task_curves"}


def test_a_chance_that_is_not_told_is_not_drawn() -> None:
    study, trials, curves = with_tasks()
    axes = drawn(figures.task_accuracy(study, trials, curves.drop(columns="task:path-star/chance"))).axes[0]
    assert not [line for line in axes.lines if line.get_linestyle() == "--"]
    empty = curves.assign(**{"task:path-star/accuracy": pd.NA}).drop(columns="task:delayed recall/accuracy")
    assert figures.task_accuracy(study, trials, empty) is None


def many_tasks(count: int) -> tuple:  # type: ignore[type-arg]
    study, trials, curves = synthetic.planning(2)
    more = {f"task:token_{place}/accuracy": 0.5 for place in range(count)}
    return study, trials, curves.assign(**more)


def test_each_task_and_each_number_has_a_panel_over_steps() -> None:
    panels = drawn(figures.task_curves(*synthetic.planning())).axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        "full path", "first hop", "full path, teacher-forced", "effective rank"
    ]  # fmt: skip
    assert [axes.get_xlabel() for axes in panels] == ["", "", "training steps", "training steps"]
    assert [axes.get_ylim() == panels[0].get_ylim() for axes in panels] == [True, True, True, False]
    assert all(axes.get_xlim() == (0, 300) for axes in panels)


def test_every_trial_is_thin_its_mean_bold_and_chance_dashed() -> None:
    study, trials, curves = synthetic.planning()
    figure = drawn(figures.task_curves(study, trials, curves))
    columns = ["full_path/accuracy", "first_hop/accuracy", "full_path_forced/accuracy", "effective_rank/value"]
    for axes, column, has_chance in zip(figure.axes, columns, (True, True, False, False), strict=True):
        chance = [line for line in axes.lines if line.get_linewidth() == 0.9]
        thin = [line for line in lines(axes, bold=False) if line not in chance]
        assert [line.get_ydata() for line in chance] == [[0.2, 0.2]] * has_chance
        assert len(thin) == 15
        for arm, mean in zip(study.arms, lines(axes, bold=True), strict=True):
            rows = curves[curves["arm"] == arm.name]
            expected = rows.groupby("step")[f"task:{column}"].mean()
            assert np.asarray(mean.get_xdata()) == pytest.approx(expected.index.to_numpy())
            assert np.asarray(mean.get_ydata()) == pytest.approx(expected.to_numpy())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*(arm.name for arm in study.arms), "chance"]


def test_only_finished_trials_have_a_mean() -> None:
    study, trials, curves = synthetic.planning(3)
    trials.loc[trials["seed"] == 0, "status"] = "running"
    (axes, *_) = drawn(figures.task_curves(study, trials, curves)).axes
    for arm, mean in zip(study.arms, lines(axes, bold=True), strict=True):
        rows = curves[(curves["arm"] == arm.name) & (curves["seed"] > 0)]
        expected = rows.groupby("step")["task:full_path/accuracy"].mean()
        assert np.asarray(mean.get_ydata()) == pytest.approx(expected.to_numpy())


def test_more_than_four_tasks_are_told_of_and_not_drawn() -> None:
    for count, panels in ((1, 4), (6, 4)):
        frames = many_tasks(count)
        accuracy = drawn(figures.task_accuracy(*frames))
        assert len(accuracy.axes) == panels
        assert len(drawn(figures.task_curves(*frames)).axes) == panels + 1
        captions = [one.caption for one in all_figures(*frames) if one.name.startswith("task_")]
        said = f"Shown are the first 4 of {3 + count} accuracies."
        assert [said in caption for caption in captions] == [count > 1] * 2


def test_without_a_task_or_a_second_evaluation_there_are_no_curves() -> None:
    study, trials, curves = synthetic.planning()
    assert figures.task_curves(*synthetic.four_arms()) is None
    assert figures.task_curves(study, trials, curves[curves["step"] == 300]) is None
    assert figures.task_curves(study, trials, pd.DataFrame()) is None


def few_tasks() -> tuple:  # type: ignore[type-arg]
    return with_tasks(synthetic.hostile)


@pytest.mark.parametrize("make", [synthetic.planning, few_tasks])
def test_every_text_of_the_figures_can_be_read(make) -> None:  # type: ignore[no-untyped-def]
    shown = {one.name: one.figure for one in drawn_once(make) if one.name.startswith("task_")}
    assert {name: text_problems(figure) for name, figure in shown.items()} == {"task_accuracy": [], "task_curves": []}
