"""The figures of what objectives report: which panels there are, on which axes, and what each shows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reports import figures
from reports.figures.panels import figure_rows
from tests.reports import synthetic
from tests.reports.drawings import drawn, drawn_once, lines, small_grid


def left_titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_diagnostics_show_the_collapse_on_a_logarithmic_axis() -> None:
    study, trials, curves = synthetic.four_arms()
    figure = drawn(figures.objective_diagnostics(study, trials, curves))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(panels) == [
        "loss of the objective", "loss over that of a constant answer", "share of the gradient",
        "cosine with the rest of the gradient", "mean |gain| of the norms", "variance",
        "smallest variance of a dimension", "effective rank", "mean cosine between positions",
    ]  # fmt: skip
    logarithmic = [title for title, axes in panels.items() if axes.get_yscale() == "log"]
    assert logarithmic == [
        "loss of the objective", "mean |gain| of the norms", "variance", "smallest variance of a dimension"
    ]  # fmt: skip
    means = [len(lines(axes, bold=True)) for axes in panels.values()]
    assert means == [2, 2, 2, 2, 2, 4, 4, 4, 4]  # the arm without gains draws none; two sides where there are any
    gain = lines(panels["mean |gain| of the norms"], bold=True)[0]
    published = curves[curves["arm"] == study.arms[2].name]
    expected = np.exp(np.log(published["future_context/prediction_gain"]).groupby(published["tokens"]).mean())
    assert np.asarray(gain.get_ydata()) == pytest.approx(expected.to_numpy(), rel=1e-9)


def test_panels_mark_what_their_quantity_is_measured_against() -> None:
    figure = drawn(figures.objective_diagnostics(*synthetic.four_arms()))
    levels = {
        axes.get_title(loc="left"): line.get_ydata()[0]
        for axes in figure.axes
        for line in axes.lines
        if list(line.get_xdata()) == [0, 1]
    }
    assert levels == {"loss over that of a constant answer": 1.0, "cosine with the rest of the gradient": 0.0}


@pytest.mark.parametrize(("count", "widths"), [(1, [1]), (5, [1] * 5), (6, [2, 2, 2]), (9, [1, 2, 2, 2, 2])])
def test_panels_fill_whole_rows(count: int, widths: list[int]) -> None:
    curves = pd.DataFrame({f"plug/metric {place}": [1.0] for place in range(count)})
    (rows,) = figure_rows(curves, "plug", together=True)
    assert [len(row) for row in rows] == widths
    assert [panel.quantity for row in rows for panel in row] == [f"metric {place}" for place in range(count)]


def test_many_panels_take_figures_of_one_size_and_sides_stay_in_a_row() -> None:
    names = ["loss", "accuracy", "gradient_share", *(f"head_{place}" for place in range(10))]
    sides = [f"{side}_{name}" for name in ("gain", "variance", "mean_cosine") for side in ("prediction", "target")]
    curves = pd.DataFrame({f"plug/{name}": [1.0] for name in [*names, *sides]})
    figures_of = figure_rows(curves, "plug", together=False)
    assert [sum(len(row) for row in rows) for rows in figures_of] == [9, 10]
    assert figures_of[0][0][0].quantity == "loss"
    for row in (row for rows in figures_of for row in rows):
        if "prediction" in row[0].title:
            assert [panel.title for panel in row] == [row[0].title, row[0].title.replace("prediction", "target")]


def test_any_plug_in_objective_has_its_figure() -> None:
    study, trials, curves = synthetic.four_arms()
    plug_in = curves[[c for c in curves if "/" not in c]].assign(
        **{"my_objective/accuracy": np.linspace(-1, 1, len(curves)), "my_objective/loss": 0.0, "empty/loss": math.nan}
    )
    assert figures.reporting_objectives(plug_in) == ["my_objective"]
    figure = drawn(figures.objective_diagnostics(study, trials, plug_in))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss of the objective", "accuracy"]
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear"]
    assert figures.objective_diagnostics(study, trials, plug_in, objective="unknown") is None


def test_many_arms_have_a_panel_for_each_side() -> None:
    first, second = drawn_once(small_grid)[-2:]
    assert (first.name, second.name) == ("diagnostics_future_context_1", "diagnostics_future_context_2")
    assert (first.title, second.title) == (
        "Objective future_context, part 1 of 2", "Objective future_context, part 2 of 2"
    )  # fmt: skip
    assert left_titles(first.figure)[3:6] == [
        "cosine with the rest of the gradient", "mean |gain| of the norms, prediction",
        "mean |gain| of the norms, target",
    ]  # fmt: skip
    assert left_titles(second.figure)[-1] == "mean cosine between positions, target"
