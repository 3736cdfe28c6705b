"""What is shown of the probe of drafts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.figures.probes import DRAWINGS
from reports.figures.style import arm_styles
from reports.probe_tables import MAIN
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.drawings import drawn, small_grid, text_problems
from tests.reports.probed_models import HOSTILE, drafting_of, of_probe


def test_rows_and_lines_are_means_over_seeds_with_their_intervals() -> None:
    study = synthetic.four_arms()[0]
    tables = drafting_of(study)
    left, right = drawn(of_probe("drafting", study, tables)).axes
    styles = arm_styles(study)
    arms = [arm.name for arm in study.arms[1:]]
    assert [label.get_text().replace("\n", " ") for label in left.get_yticklabels()] == arms
    dots = [line for line in left.lines if line.get_marker() == "o"]
    bars = [line for line in left.lines if line.get_linewidth() == 1.6]
    marks = [line for line in left.lines if line.get_marker() == "|"]
    curves = [line for line in right.lines if line.get_linestyle() != "None" and len(line.get_xdata()) == 3]
    rings = [line for line in right.lines if line.get_markerfacecolor() == "none"]
    for place, arm in enumerate(arms):
        own = tables["drafting"][tables["drafting"]["arm"] == arm]["tokens_per_pass"]
        assert dots[place].get_xdata()[0] == pytest.approx(own.mean())
        assert dots[place].get_color() == curves[place].get_color() == styles[arm].colour
        assert list(bars[place].get_xdata()) == pytest.approx(t_interval(own))
        assert list(marks[place].get_xdata()) == own.tolist()
        guesses = tables["guesses"][tables["guesses"]["arm"] == arm].groupby("guess")
        assert list(curves[place].get_ydata()) == pytest.approx(guesses["acceptance"].mean().tolist())
        assert list(rings[place].get_ydata()) == pytest.approx([0.8, 0.8])
    assert right.get_ylim() == (0, 1)


def test_objectives_of_one_run_are_told_apart() -> None:
    study = synthetic.four_arms()[0]
    tables = drafting_of(study, ("multi_token", "next_latent"), arms=slice(1, 2))
    left, right = drawn(of_probe("drafting", study, tables)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["multi_token", "next_latent"]
    assert len({line.get_color() for line in right.lines}) == 2


def test_many_arms_take_several_figures() -> None:
    study, *_ = small_grid()
    found = list(DRAWINGS["drafting"](drafting_of(study), arm_styles(study)))
    assert [name for name, *_ in found] == ["probe_drafting_1", "probe_drafting_2"]
    assert [title for _, title, *_ in found][1] == "Tokens that objectives draft, part 2 of 2"
    assert sum(len(drawn(figure).axes[0].get_yticklabels()) for *_, figure in found) == 19


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.hostile])
@pytest.mark.parametrize("objectives", [("multi_token",), ("multi_token", HOSTILE)])
def test_every_text_can_be_read(make: Callable[[], tuple[Any, ...]], objectives: tuple[str, ...]) -> None:
    study = make()[0]
    assert text_problems(drawn(of_probe("drafting", study, drafting_of(study, objectives)))) == []


def test_objectives_that_guess_nothing_are_shown_too() -> None:
    study = synthetic.four_arms(1)[0]
    tables = drafting_of(study, guesses=0)
    tables["guesses"] = pd.DataFrame(columns=["arm", "seed", "trial"])
    drawn(of_probe("drafting", study, tables))
    table = MAIN["drafting"](tables)
    assert [column.title for column in table.columns][2:] == [
        "tokens a pass", "accepted a pass", "distinct", "identical"
    ]  # fmt: skip
    some = drafting_of(study)
    some["guesses"] = some["guesses"][some["guesses"]["arm"] != study.arms[1].name]
    drawn(of_probe("drafting", study, some))
    assert MAIN["drafting"](some).rows[0][-3].text == "–"


def test_the_table_tells_a_fault_from_a_tie() -> None:
    study = synthetic.four_arms(3)[0]
    tables = drafting_of(study)
    table = MAIN["drafting"](tables)
    assert [column.title for column in table.columns] == [
        "arm", "objective", "tokens a pass", "accepted a pass", "1st guess", "2nd guess", "3rd guess",
        "distinct", "identical",
    ]  # fmt: skip
    for row, arm in zip(table.rows, study.arms[1:], strict=True):
        own = tables["drafting"][tables["drafting"]["arm"] == arm.name]
        assert (row[0].text, row[2].key) == (arm.name, pytest.approx(own["tokens_per_pass"].mean()))
        assert (row[-1].text, row[-1].strong) == ("1.000", False)
    assert not [note for note in table.notes if "fault" in note]
    rows = tables["drafting"]
    rows.loc[0, ["identical", "ties"]] = [0.75, 0]
    rows.loc[4, "ties"] = 2
    table = MAIN["drafting"]({**tables, "drafting": rows})
    assert (table.rows[0][-1].text, table.rows[0][-1].strong) == ("0.750", True)
    assert (table.rows[1][-1].text, table.rows[1][-1].strong) == ("1.000 (2 at a tie)", False)
    assert "is a fault of the drafts" in table.notes[-1]
    one = {name: frame[frame["arm"] == study.arms[2].name] for name, frame in tables.items()}
    assert MAIN["drafting"](one).columns[0].title == "objective"
    assert np.isfinite([cell.key for cell in MAIN["drafting"](one).rows[0][1:] if cell.key is not None]).all()
