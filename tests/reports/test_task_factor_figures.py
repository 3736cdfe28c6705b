"""The figures of accuracy over factors: what each cell, line and dot shows."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from reports import figures
from reports.figures.catalogue import all_figures
from reports.figures.plane_drawing import GREY
from reports.figures.style import MUTED
from reports.figures.task_drawings import task_drawings
from reports.statistics import t_interval
from tests.reports import synthetic, task_studies
from tests.reports.drawings import attached, drawn, lines, long_names, one_sweep, text_problems, with_tasks

HORIZONS = {"rows": "objective.n", "columns": "data.task.delay"}
LENGTHS = {"rows": "data.task.degree", "columns": "data.task.length"}
STUDIES = [
    task_studies.attachment, task_studies.degree, task_studies.horizons, task_studies.dial, task_studies.crossed_numbers
]  # fmt: skip


def ends(curves: pd.DataFrame, column: str) -> pd.DataFrame:
    """The last evaluations, one row an arm and one column a seed."""
    last = curves[curves["step"] == curves["step"].max()]
    return last.pivot(index="arm", columns="seed", values=column)


def cells(axes: Axes) -> dict[tuple[str, str], tuple[str, str]]:
    """(row, column) → (text, colour) of a heat map."""
    rows, columns = (
        [label.get_text() for label in names] for names in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    filled = [patch for patch in axes.patches if patch.get_fill()]
    colours = {patch.get_xy(): to_hex(patch.get_facecolor()) for patch in filled}  # type: ignore[attr-defined]
    texts = {(text.get_position()[0] - 0.5, text.get_position()[1] - 0.5): text.get_text() for text in axes.texts}
    return {
        (rows[row], columns[column]): (texts[column, row], colours.get((column, row), ""))
        for row, column in itertools.product(range(len(rows)), range(len(columns)))
    }


def outlined(axes: Axes) -> set[tuple[int, int]]:
    """(row, column) of the cells with an outline."""
    return {(int(p.get_y()), int(p.get_x())) for p in axes.patches if isinstance(p, Rectangle) and not p.get_fill()}


def marks(axes: Axes, *, size: float) -> list[tuple[str, list[float], list[float]]]:
    """(colour, along the first axis, along the second) of each line whose markers are so large."""
    found = [line for line in axes.lines if line.get_marker() not in ("None", "") and line.get_markersize() == size]
    return [(str(line.get_color()), list(line.get_xdata()), list(line.get_ydata())) for line in found]


def dashed(axes: Axes) -> list[Any]:
    return [line for line in axes.lines if line.get_linewidth() == 0.9]


def test_each_cell_has_its_mean_and_how_many_seeds_solved_it() -> None:
    study, trials, curves = task_studies.degree()
    accuracies = ends(curves, "task:full_path/accuracy")
    *panels, bar = drawn(figures.task_heat_map(study, trials, curves, **LENGTHS)).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["next token", "bag of words", "multi-token"]
    names = ["4", "3", "2"]
    for axes in panels:
        axes.set_yticks(axes.get_yticks(), names)  # only the first panel names its rows
        for (degree, length), (text, colour) in cells(axes).items():
            own = accuracies.loc[f"{axes.get_title(loc='left')}: {degree}, {length}"]
            assert text == f"{100 * own.mean():.0f}\n{(own >= 0.95).sum()}/3"
            chance = 1 / int(degree)
            error = math.sqrt(chance * (1 - chance) / (3 * task_studies.WINDOWS))
            assert (colour == GREY) == (own.mean() <= chance + 1.96 * error)
    assert bar.get_ylabel() == "accuracy (%)"
    assert bar.get_ylim() == (0, 100)


def test_colours_are_on_one_scale_from_0_to_1() -> None:
    study, trials, curves = task_studies.degree()
    flat = curves.assign(**{"task:full_path/accuracy": 0.999})
    *panels, bar = drawn(figures.task_heat_map(study, trials, flat, **LENGTHS)).axes
    top = to_hex(bar.collections[-1].get_cmap()(0.999))
    assert {to_hex(patch.get_facecolor()) for axes in panels for patch in axes.patches} == {top}


def test_below_three_seeds_a_cell_has_its_mean_alone_and_without_a_trial_a_dot() -> None:
    study, trials, curves = task_studies.degree(2)
    trials.loc[trials["arm"] == "next token: 4, 5", "status"] = "running"
    axes = drawn(figures.task_heat_map(study, trials, curves, **LENGTHS)).axes[0]
    assert cells(axes)["4", "5"] == ("·", "")
    assert "\n" not in "".join(text for text, _ in cells(axes).values())
    assert figures.task_heat_map(study, trials.assign(status="failed"), curves, **LENGTHS) is None


def test_cells_are_outlined_where_the_objective_looks_as_far_as_the_delay() -> None:
    crossed, without, _ = drawn(figures.task_heat_map(*task_studies.horizons(), **HORIZONS)).axes
    assert outlined(crossed) == {(3, 0), (2, 1), (1, 2), (0, 3)}
    assert [label.get_text() for label in crossed.get_yticklabels()] == ["12", "8", "4", "2"]
    assert (crossed.get_ylabel(), crossed.get_xlabel(), without.get_xlabel()) == ("horizon n", "", "delay")
    assert outlined(without) == set()
    assert [label.get_text().replace("\n", " ") for label in without.get_yticklabels()] == [
        "next token", "learned horizon"
    ]  # fmt: skip
    grouped, _ = drawn(figures.task_heat_map(*task_studies.dial(), rows="group", columns="data.task.delay")).axes
    assert outlined(grouped) == {(1, 0), (2, 1), (3, 2), (4, 3)}


def test_the_key_says_what_grey_and_outlines_are_where_there_are_any() -> None:
    def key(figure: Figure) -> list[str]:
        return [text.get_text() for legend in figure.legends for text in legend.get_texts()]

    grey, outline = "no better than guessing", "horizon as far as the task's delay"
    study, trials, curves = task_studies.degree()
    assert key(drawn(figures.task_heat_map(*task_studies.horizons(), **HORIZONS))) == [grey, outline]
    assert key(drawn(figures.task_heat_map(study, trials, curves, **LENGTHS))) == [grey]
    untold = curves.drop(columns="task:full_path/chance")
    figure = drawn(figures.task_heat_map(study, trials, untold, **LENGTHS))
    assert key(figure) == []
    assert GREY not in {to_hex(patch.get_facecolor()) for patch in figure.findobj(Patch)}


def test_texts_on_cells_stand_out() -> None:
    def luminance(colour: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    study, trials, curves = task_studies.horizons()
    spread = curves.assign(**{"task:recall/accuracy": np.linspace(0.13, 1, len(curves))})
    axes = drawn(figures.task_heat_map(study, trials, spread, **HORIZONS)).axes[0]
    for text in axes.texts:
        place = text.get_position()[0] - 0.5, text.get_position()[1] - 0.5
        (patch,) = (p for p in axes.patches if p.get_fill() and p.get_xy() == place)  # type: ignore[attr-defined]
        light, dark = sorted(
            (luminance(mpl.colors.to_rgb(text.get_color())), luminance(patch.get_facecolor())), reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 3.3


def test_a_sweep_over_names_has_rows_with_every_trial_and_lines_along_the_means() -> None:
    study, trials, curves = task_studies.attachment()
    accuracies = ends(curves, "task:full_path/accuracy")
    figure = drawn(figures.task_sweep(study, trials, curves, key="objective.attach"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "layer 1", "layer 2", "encoder", "layer 4", "layer 5", "decoder"
    ]  # fmt: skip
    places = list(axes.get_yticks())
    groups = ["bag of words", "multi-token"]
    for group, (_, means, rows) in zip(groups, marks(axes, size=4.5), strict=True):
        names = [arm.name for arm in study.arms if arm.group == group]
        assert rows == pytest.approx(places)
        assert means == pytest.approx(accuracies.loc[names].mean(axis=1).tolist())
    shown = [accuracy for _, dots, _ in marks(axes, size=3) for accuracy in dots]
    assert shown == pytest.approx(accuracies.loc[[arm.name for arm in study.arms if arm.group]].to_numpy().ravel())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*groups, "next token", "chance"]


def test_intervals_are_t_intervals_cut_at_0_and_1() -> None:
    study, trials, curves = task_studies.attachment()
    (axes,) = drawn(figures.task_sweep(study, trials, curves, key="objective.attach")).axes
    accuracies = ends(curves, "task:full_path/accuracy")
    expected = [t_interval(accuracies.loc[arm.name]) for arm in study.arms if arm.group]
    pale = [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2.2]
    assert pale == [pytest.approx([max(low, 0), min(high, 1)]) for low, high in expected]
    (axes,) = drawn(figures.task_sweep(*task_studies.dial(), key="data.task.delay")).axes
    assert not [line for line in axes.lines if line.get_linewidth() == 2.2]


def test_the_reference_is_a_band_where_it_does_the_same_task_and_is_on_no_line() -> None:
    study, trials, curves = task_studies.attachment()
    (axes,) = drawn(figures.task_sweep(study, trials, curves, key="objective.attach")).axes
    (band,) = axes.patches
    corners = band.get_extents().transformed(axes.transData.inverted())
    low, high = t_interval(ends(curves, "task:full_path/accuracy").loc["next token"])
    assert (corners.x0, corners.x1) == pytest.approx((low, high), rel=1e-6)
    # On a line, also of arms that do the same task; or at another task, as one arm of a delay beside all delays.
    study, trials, curves = with_tasks(lambda: one_sweep(3))
    on_line = study.model_copy(update={"reference": "n=3"})
    assert drawn(figures.task_sweep(study, trials, curves, key="objective.n")).axes[0].patches
    assert not drawn(figures.task_sweep(on_line, trials, curves, key="objective.n")).axes[0].patches
    assert not any(
        axes.patches for axes in drawn(figures.task_sweep(*task_studies.degree(), key="data.task.degree")).axes
    )
    crossed, *frames = task_studies.crossed_numbers()
    alone = crossed.arms[0].model_copy(update={"name": "alone", "settings": {}})
    beside = crossed.model_copy(update={"arms": [*crossed.arms, alone], "reference": "alone"})
    more = [pd.concat([frame, frame[frame["arm"] == crossed.arms[0].name].assign(arm="alone")]) for frame in frames]
    panels = drawn(figures.task_sweep(beside, *more, key="objective.n")).axes
    assert not any("alone" in text.get_text() for text in panels[0].figure.findobj(type(panels[0].title)))
    with_config = [arm.model_copy(update={"config": {"data": {"task": "one"}}}) for arm in beside.arms]
    same = beside.model_copy(update={"arms": with_config})
    figure = drawn(figures.task_sweep(same, *more, key="objective.n"))
    assert "alone" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_chance_follows_the_degree() -> None:
    panels = drawn(figures.task_sweep(*task_studies.degree(), key="data.task.degree")).axes
    for axes in panels:
        (chance,) = dashed(axes)
        assert list(chance.get_xdata()) == [2, 3, 4]
        assert list(chance.get_ydata()) == pytest.approx([1 / 2, 1 / 3, 1 / 4])
        assert chance.get_color() == MUTED
    panels = drawn(figures.task_sweep(*task_studies.degree(), key="data.task.length")).axes
    assert [list(dashed(axes)[0].get_ydata()) for axes in panels] == [pytest.approx([1 / d] * 2) for d in (2, 3, 4)]


def test_lines_of_different_chances_have_each_its_own() -> None:
    factors: dict[str, list[Any]] = {"data.task.degree": [2, 4], "data.task.length": [3, 4, 5]}
    frames = task_studies.of_groups(
        {None: ({}, factors)}, "2, 3", lambda *_: 0.9, lambda settings: 1 / settings["data.task.degree"]
    )
    (axes,) = drawn(figures.task_sweep(*frames, key="data.task.length")).axes
    means = marks(axes, size=4.5)
    assert [(line.get_color(), list(line.get_ydata())) for line in dashed(axes)] == [
        (colour, [chance] * 3) for (colour, _, _), chance in zip(means, (0.5, 0.25), strict=True)
    ]


def test_chances_that_differ_at_one_place_alone_belong_to_lines() -> None:
    factors: dict[str, list[Any]] = {"objective.n": [1, 2], "data.task.length": [3, 4, 5]}
    frames = task_studies.of_groups(
        {None: ({}, factors)}, "1, 3", lambda *_: 0.9, lambda own: 0.4 if list(own.values()) == [2, 5] else 0.2
    )
    (axes,) = drawn(figures.task_sweep(*frames, key="data.task.length")).axes
    assert [list(line.get_ydata()) for line in dashed(axes)] == [[0.2] * 3, [0.2, 0.2, 0.4]]


def test_a_sweep_over_numbers_stands_at_them() -> None:
    study, trials, curves = task_studies.horizons()
    panels = drawn(figures.task_sweep(study, trials, curves, key="data.task.delay")).axes
    accuracies = ends(curves, "task:recall/accuracy").mean(axis=1)
    assert [axes.get_title(loc="left") for axes in panels] == ["n 2", "n 4", "n 8", "n 12"]
    for axes, n in zip(panels, task_studies.DELAYS, strict=True):
        for (_, delays, means), name in zip(
            marks(axes, size=4.5), ("next token: ", f"n ahead: {n}, ", "learned horizon: "), strict=True
        ):
            assert delays == task_studies.DELAYS
            assert means == pytest.approx([accuracies[f"{name}{delay:g}"] for delay in delays])


def test_no_sweep_without_a_task_or_two_finished_values() -> None:
    study, trials, curves = task_studies.attachment()
    assert figures.task_sweep(study, trials, curves, key="model.width") is None
    assert figures.task_sweep(*attached(), key="objective.attach") is None
    trials.loc[~trials["arm"].isin([study.arms[0].name, study.arms[1].name]), "status"] = "pending"
    assert figures.task_sweep(study, trials, curves, key="objective.attach") is None


def test_a_line_has_one_colour_in_every_panel() -> None:
    study, trials, curves = task_studies.horizons()
    missing = trials["arm"].str.startswith("n ahead: 2,")
    trials.loc[missing, "status"] = "pending"
    panels = drawn(figures.task_sweep(study, trials, curves, key="data.task.delay")).axes
    first, *others = [[colour for colour, _, _ in marks(axes, size=4.5)] for axes in panels]
    assert all(one == others[0] for one in others)
    assert len(set(others[0])) == 3
    assert first == [others[0][0], others[0][2]]


def test_curves_have_a_panel_a_setting_of_the_task_where_arms_learned_several() -> None:
    study, trials, curves = task_studies.horizons()
    figure = drawn(figures.task_curves(study, trials, curves))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["delay 2", "delay 4", "delay 8", "delay 12"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    ahead = [f"n ahead, n {n}" for n in (2, 4, 8, 12)]
    assert sorted(labels) == sorted(["next token", *ahead, "learned horizon", "chance"])
    colours = dict(zip(labels, [line.get_color() for line in figure.legends[0].get_lines()], strict=True))
    means = curves.groupby(["arm", "step"])["task:recall/accuracy"].mean()
    for axes, delay in zip(figure.axes, task_studies.DELAYS, strict=True):
        shown = {line.get_color(): list(line.get_ydata()) for line in lines(axes, bold=True)}
        for label, arm in (("next token", "next token: "), ("n ahead, n 4", "n ahead: 4, ")):
            assert shown[colours[label]] == pytest.approx(means[f"{arm}{delay:g}"].tolist())


def test_a_panel_has_the_chance_of_its_own_setting() -> None:
    figure = drawn(figures.task_curves(*task_studies.degree()))
    assert len(figure.axes) == 8
    for axes in figure.axes:
        degree = int(axes.get_title(loc="left").split()[1].rstrip(","))
        chances = [line for line in axes.get_lines() if line.get_color() == MUTED]
        assert [list(line.get_ydata()) for line in chances] == [[1 / degree] * 2]


def test_what_an_objective_foresees_is_its_mean_loss_over_the_trivial_one() -> None:
    study, trials, curves = task_studies.horizons()
    means = ends(curves, "future_context/loss_over_trivial").mean(axis=1)
    above, below = drawn(figures.objective_heat_map(study, trials, curves, **HORIZONS)).axes[:2]
    shown = cells(above)
    assert len(shown) == 16
    for (n, delay), (text, colour) in shown.items():
        ratio = means[f"n ahead: {n}, {delay}"]
        assert text == f"{ratio:.2f}"
        assert (colour == GREY) == (ratio >= 1) == (int(n) > int(delay))
        if ratio < 1:
            assert colour == to_hex(mpl.colormaps["viridis_r"](ratio))
    assert outlined(above) == {(3, 0), (2, 1), (1, 2), (0, 3)}
    told = cells(below)
    assert {text for (row, _), (text, _) in told.items() if row == "next token"} == {"·"}
    assert {text for (row, _), (text, _) in told.items() if row != "next token"} <= {f"{mean:.2f}" for mean in means}


def test_nothing_is_foreseen_without_one_such_loss() -> None:
    study, trials, curves = task_studies.horizons()
    column = "future_context/loss_over_trivial"
    assert figures.objective_heat_map(study, trials, curves.drop(columns=column), **HORIZONS) is None
    both = curves.assign(**{"reverse_model/loss_over_trivial": curves[column]})
    assert figures.objective_heat_map(study, trials, both, **HORIZONS) is None
    assert figures.objective_heat_map(study, trials.assign(status="failed"), curves, **HORIZONS) is None


SHARES = [f"future_context/aggregator_probability_{n}" for n in range(1, 17)]


def distributions(axes: Axes) -> list[list[float]]:
    """What the lines of trials show."""
    return sorted([float(share) for share in line.get_ydata()] for line in axes.get_lines() if line.get_alpha() == 0.8)


def upright(axes: Axes) -> list[Any]:
    """The lines from the bottom to the top."""
    return [line for line in axes.get_lines() if list(line.get_ydata()) == [0, 1]]


@pytest.mark.parametrize("kind", ["horizon", "distance"])
def test_a_line_a_trial_of_what_was_learned_and_the_delay_beside_it(kind: str) -> None:
    study, trials, curves = task_studies.horizons()
    curves = curves.rename(
        columns={"future_context/aggregator_expected_horizon": f"future_context/aggregator_expected_{kind}"}
    )
    panels = drawn(figures.learned_distributions(study, trials, curves)).axes
    last = curves[curves["step"] == 300]
    for axes, delay in zip(panels, task_studies.DELAYS, strict=True):
        assert axes.get_title(loc="left") == f"learned horizon: {delay:g}"
        assert axes.get_xlabel() == f"{kind} (tokens)"
        own = last[last["arm"] == f"learned horizon: {delay:g}"]
        assert distributions(axes) == sorted(own[SHARES].to_numpy().tolist())
        assert len(own) == 3
        assert [list(line.get_xdata()) for line in upright(axes)] == [[delay, delay]]


def test_the_true_horizon_may_stand_in_the_configuration() -> None:
    study, trials, curves = task_studies.horizons()
    shown = drawn(figures.learned_distributions(study, trials, curves)).axes
    arms = [
        arm.model_copy(
            update={
                "settings": {key: value for key, value in arm.settings.items() if key != "data.task.delay"},
                "config": {"data": {"task": {"name": "delayed_recall", "delay": arm.settings["data.task.delay"]}}},
            }
        )
        for arm in study.arms
    ]
    told = drawn(figures.learned_distributions(study.model_copy(update={"arms": arms}), trials, curves)).axes
    for own, other in zip(told, shown, strict=True):
        assert [list(line.get_xdata()) for line in upright(own)] == [list(line.get_xdata()) for line in upright(other)]


def test_a_learned_distribution_needs_no_delay() -> None:
    study, trials, curves = task_studies.horizons()
    arms = [arm.model_copy(update={"settings": {}, "config": {"data": {"corpus": "pydocs"}}}) for arm in study.arms]
    figure = drawn(figures.learned_distributions(study.model_copy(update={"arms": arms}), trials, curves))
    assert [len(distributions(axes)) for axes in figure.axes] == [3] * 4
    assert not any(upright(axes) for axes in figure.axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["as it began"]


def test_no_learned_distribution_without_all_of_its_columns() -> None:
    study, trials, curves = task_studies.horizons()
    column = "future_context/aggregator_expected_horizon"
    assert figures.learned_distributions(study, trials, curves.drop(columns=column)) is None
    assert figures.learned_distributions(study, trials, curves.drop(columns=SHARES)) is None
    assert figures.learned_distributions(study, trials.assign(status="failed"), curves) is None


def test_probabilities_have_one_figure_and_no_panel_each() -> None:
    frames = task_studies.horizons()
    found = [one.figure for one in all_figures(*frames) if one.name.startswith("diagnostics_future_context")]
    titles = [axes.get_title(loc="left") for figure in found for axes in figure.axes]
    assert "aggregator expected horizon" in titles
    assert not any("probability" in title for title in titles)


@functools.cache
def drawn_tasks(make: Callable[[], task_studies.Frames]) -> dict[str, tuple[str, str, Figure]]:
    """Name → title, caption, figure of those that show something."""
    return {name: (title, caption, figure) for name, title, caption, figure in task_drawings(*make()) if figure}


def test_the_catalogue_has_accuracy_first_and_then_the_loss() -> None:
    study, trials, curves = task_studies.attachment(1)
    names = [one.name for one in all_figures(study, trials, curves)]
    assert names[:3] == ["task_accuracy", "task_curves", "task_sweep_objective_attach"]
    tasks = [column for column in curves if column.startswith("task:")]
    without = [one.name for one in all_figures(study, trials, curves.drop(columns=tasks))]
    assert names[3:] == without
    assert "objective_attach_sweep" in without


def test_a_study_has_all_that_its_factors_allow() -> None:
    assert list(drawn_tasks(task_studies.horizons)) == [
        "task_accuracy", "task_curves", "task_heat_map_objective_n_and_data_task_delay",
        "objective_heat_map_objective_n_and_data_task_delay", "task_sweep_data_task_delay", "task_sweep_objective_n",
    ]  # fmt: skip
    assert list(drawn_tasks(task_studies.dial))[2:] == [
        "task_heat_map_group_and_data_task_delay", "objective_heat_map_group_and_data_task_delay",
        "task_sweep_data_task_delay",
    ]  # fmt: skip
    assert list(task_drawings(*attached())) == []


def test_captions_say_what_chance_is_and_what_is_outlined() -> None:
    title, caption, _ = drawn_tasks(task_studies.horizons)["task_heat_map_objective_n_and_data_task_delay"]
    assert title == "Accuracy over horizon n and delay"
    assert "Chance is 12.5 %:" in caption
    assert "Outlined cells" in caption
    _, caption, _ = drawn_tasks(task_studies.degree)["task_heat_map_data_task_degree_and_data_task_length"]
    assert "Chance is 25 % to 50 %:" in caption
    assert "Outlined" not in caption
    title, caption, _ = drawn_tasks(task_studies.attachment)["task_sweep_objective_attach"]
    assert title == "Accuracy by where the objective attaches"
    assert "The band is the reference “next token”" in caption
    assert "t interval" in caption
    _, caption, _ = drawn_tasks(task_studies.dial)["task_sweep_data_task_delay"]
    assert "reference" not in caption
    assert "interval" not in caption


def test_what_is_left_out_is_told_of() -> None:
    factors: dict[str, list[Any]] = {"objective.n": [1, 2], "data.task.delay": [1, 2], "objective.weight": [*range(7)]}
    groups: dict[Any, Any] = {name: ({"model.width": name}, factors) for name in (8, 9)}
    frames = task_studies.of_groups(
        {str(name): value for name, value in groups.items()}, "8: 1, 1, 0", lambda *_: 0.5, lambda _: 0.1, seeds=1
    )
    study, trials, curves = frames
    shown = {name: (caption, figure) for name, _, caption, figure in task_drawings(study, trials, curves) if figure}
    caption, figure = shown["task_heat_map_objective_n_and_data_task_delay"]
    assert "Shown are the first 6 of 14 panels." in caption
    assert len(figure.axes) == 6 + 1
    caption, figure = shown["task_sweep_objective_n"]
    assert "Shown are the first 6 of 14 combinations of the other factors." in caption
    assert len(figure.axes) == 6
    assert {name: text_problems(one) for name, (_, one) in shown.items()} == {name: [] for name in shown}


@pytest.mark.parametrize("make", STUDIES)
def test_every_text_can_be_read_and_widths_are_those_of_papers(make: Any) -> None:
    shown = drawn_tasks(make)
    assert {name: text_problems(figure) for name, (_, _, figure) in shown.items()} == {name: [] for name in shown}
    assert {figure.get_figwidth() for _, _, figure in shown.values()} <= {3.3, 6.75}


def test_hostile_groups_are_drawn_as_they_are() -> None:
    factors: dict[str, list[Any]] = {"model.a_long.dotted_key.of_a_plug_in_$x$": [1, 200], "data.task.delay": [1, 1e6]}
    groups = {name.strip(): ({"n": place}, factors) for place, name in enumerate(synthetic.HOSTILE_NAMES)}
    first = f"{synthetic.HOSTILE_NAMES[0]}: 1, 1"
    frames = task_studies.of_groups(groups, first, lambda *_: 0.4, lambda _: 0.1, seeds=3)
    shown = {name: figure for name, _, _, figure in task_drawings(*frames) if figure}
    assert len(shown) == 5
    assert {name: text_problems(figure) for name, figure in shown.items()} == {name: [] for name in shown}


def test_whole_objectives_with_long_names_have_rows() -> None:
    figure = drawn(figures.task_sweep(*with_tasks(long_names), key="objective"))
    assert [axes.get_title(loc="left")[-2:].strip() for axes in figure.axes] == ["1", "30"]
    assert lines(figure.axes[0], bold=True)
