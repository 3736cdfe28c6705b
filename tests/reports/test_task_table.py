"""The planning table: what it shows of synthetic studies, in every form, and where it is absent."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest

from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.frames import complete_trials
from reports.main_table import main_table
from reports.statistics import t_interval
from reports.success import wilson_interval
from reports.table import Table
from reports.table_formats import FORMATS, to_csv
from reports.task_study import task_study
from reports.task_table import task_table
from tests.reports import synthetic
from tests.reports.drawings import with_tasks

Frames = tuple[StoredStudy, pd.DataFrame, pd.DataFrame]


def table_of(frames: Frames) -> Table:
    study, trials, curves = frames
    found = task_study(study, trials, curves, compare(study, trials))
    assert found is not None
    return task_table(found)


def column(table: Table, title: str) -> list[str]:
    position = [column.title for column in table.columns].index(title)
    return [row[position].text for row in table.rows]


def titles(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def ends_of(frames: Frames, arm: str, name: str) -> np.ndarray:
    curves = frames[2]
    return curves.loc[(curves["arm"] == arm) & (curves["step"] == 300), f"task:{name}"].to_numpy()


def test_every_arm_has_its_numbers() -> None:
    frames = synthetic.planning()
    table = table_of(frames)
    assert titles(table) == [
        "arm", "inference parameters", "seeds", "full path (%)", "chance (%)", "solved [95 % interval]",
        "steps until solved", "paired difference in accuracy [95 % interval]", "gap to teacher forcing",
        "first hop (%)", "full path, teacher-forced (%)", "effective rank",
    ]  # fmt: skip
    assert column(table, "arm") == [arm.name for arm in frames[0].arms]
    assert column(table, "seeds") == ["5/5"] * 3
    assert column(table, "chance (%)") == ["20.0"] * 3
    low, high = wilson_interval(2, 5)
    assert column(table, "solved [95 % interval]") == [
        "0/5 [0 %, 43 %]", "5/5 [57 %, 100 %]", f"2/5 [{100 * low:.0f} %, {100 * high:.0f} %]"
    ]  # fmt: skip
    assert column(table, "steps until solved") == ["–", "120", "260 (3 did not)"]
    ends = ends_of(frames, "bag of words", "full_path/accuracy")
    half = (np.diff(t_interval(ends)) / 2).item()
    assert column(table, "full path (%)")[2] == f"{100 * ends.mean():.1f} ± {100 * half:.1f}"
    first = ends_of(frames, "bag of words", "first_hop/accuracy")
    assert column(table, "first hop (%)")[2] == f"{100 * first.mean():.1f}"
    differences = 100 * (ends - ends_of(frames, "next token", "full_path/accuracy"))
    shown = [differences.mean(), *t_interval(differences)]
    text = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*shown).replace("-", "−")
    assert column(table, "paired difference in accuracy [95 % interval]")[::2] == ["–", text]
    gap = 100 * (ends_of(frames, "next token", "full_path_forced/accuracy")
                 - ends_of(frames, "next token", "full_path/accuracy")).mean()  # fmt: skip
    assert column(table, "gap to teacher forcing")[0] == f"{gap:+.1f}"


def test_the_csv_has_every_measure_unrounded() -> None:
    frames = synthetic.planning(8)
    more = {f"task:token_{place}/accuracy": 0.1 * place for place in range(1, 5)}
    values = {f"task:value_{place}/value": 10.0 * place for place in range(3)}
    frames = (*frames[:2], frames[2].assign(**more, **values))
    table = table_of(frames)
    assert titles(table)[-4:] == ["first hop (%)", "full path, teacher-forced (%)", "token 1 (%)", "token 2 (%)"]
    data = pd.read_csv(io.StringIO(to_csv(table))).set_index("arm")
    for name in (
        "full_path/accuracy",
        "first_hop/accuracy",
        "token_4/accuracy",
        "value_2/value",
        "effective_rank/value",
    ):
        ends = ends_of(frames, "teacherless", name)
        assert data.loc["teacherless", f"task:{name}_mean"] == pytest.approx(ends.mean(), rel=1e-12)
    assert data.loc["teacherless", "seeds_solved"] == 8
    assert data.loc["teacherless", "p_exact"] == pytest.approx(2 / 256)
    assert data.loc["teacherless", "p_exact_holm"] == pytest.approx(4 / 256)
    assert data.loc["teacherless", "p_sign_flip"] == pytest.approx(2 / 256)
    assert math.isnan(data.loc["next token", "p_exact"])
    assert "The CSV has 2 more shares and 4 numbers that are no shares." in table.notes


def test_p_values_come_with_six_pairs() -> None:
    table = table_of(synthetic.planning(6))
    assert column(table, "p (exact)") == ["–", "0.031", "0.25"]
    assert column(table, "p (Holm)") == ["–", "0.062", "0.25"]
    (note,) = [note for note in table.notes if note.startswith("p (exact)")]
    assert "over the family of 2 comparisons. With 6 pairs the smallest possible is 0.062, so at 5 %" in note
    assert not [note for note in table.notes if note.startswith("There is no p value")]


def test_without_p_values_the_notes_say_why() -> None:
    for seeds, least in ((3, "25"), (5, "6.25")):
        table = table_of(synthetic.planning(seeds))
        assert not [title for title in titles(table) if title.startswith("p (")]
        (note,) = [note for note in table.notes if note.startswith("There is no p value")]
        assert f"is never below {least} % with {seeds} pairs" in note


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_there_are_values_only(seeds: int) -> None:
    table = table_of(synthetic.planning(seeds))
    text = " ".join(cell.text for row in table.rows for cell in row)
    assert "±" not in text
    assert "[" not in text
    assert column(table, "solved [95 % interval]")[1] == f"{seeds}/{seeds}"
    assert column(table, "effective rank")[1] == "36"
    assert not [note for note in table.notes if "p value" in note or "t intervals" in note]


def test_what_is_not_there_has_no_column() -> None:
    study, trials, curves = synthetic.planning()
    bare = curves[[column for column in curves if not column.startswith("task:")]]
    one = bare.assign(**{"task:creativity/accuracy": 0.3})
    assert titles(table_of((study, trials, one)))[3:] == [
        "creativity (%)", "solved [95 % interval]", "steps until solved",
        "paired difference in accuracy [95 % interval]",
    ]  # fmt: skip
    alone = study.model_copy(update={"arms": study.arms[:1]})
    assert titles(table_of((alone, trials, one)))[-1] == "steps until solved"
    assert task_study(study, trials, bare, compare(study, trials)) is None
    empty = bare.assign(**{"task:creativity/accuracy": None})
    assert task_study(study, trials, empty, compare(study, trials)) is None


def test_pending_and_failed_trials_are_not_counted() -> None:
    study, trials, curves = with_tasks(synthetic.half_finished)
    table = table_of((study, trials, curves))
    assert column(table, "seeds") == ["4/5", "3/5", "2/5", "0/5"]
    assert column(table, "path-star (%)")[3] == column(table, "solved [95 % interval]")[3] == "–"
    assert "[" not in column(table, "solved [95 % interval]")[2]
    nothing = table_of((study, trials.assign(status="failed"), curves))
    assert column(nothing, "seeds") == ["0/5"] * 4


def test_the_word_paired_needs_proof() -> None:
    study, trials, curves = synthetic.planning()
    table = table_of((study, trials.assign(batch_digest=None), curves))
    assert "difference in accuracy by seed [95 % interval]" in titles(table)
    assert not [text for text in (*titles(table), *table.notes) if "aired diff" in text]


def test_groups_of_arms_have_a_column() -> None:
    study, trials, curves = synthetic.planning()
    arms = [arm.model_copy(update={"group": "heads"}) for arm in study.arms]
    table = table_of((study.model_copy(update={"arms": arms}), trials, curves))
    assert titles(table)[:2] == ["arm", "group"]
    assert set(table.data["group"]) == {"heads"}


def test_the_table_has_every_form() -> None:
    table = table_of(synthetic.planning())
    written = {ending: write(table) for ending, write in FORMATS.items()}
    assert r"| teacherless | 1,180,672 | 5/5 | " in written[".md"]
    assert r"5/5 \[57 %, 100 %\]" in written[".md"]
    assert r"5/5 [57 \%, 100 \%]" in written[".tex"]
    assert r"\label{tab:planning}" in written[".tex"]
    assert "<th" in written[".html"]
    assert "57\N{NO-BREAK SPACE}%" in written[".html"]
    assert written[".csv"].count("\n") == 4


def test_names_of_arms_and_tasks_stay_text() -> None:
    study, trials, curves = with_tasks(synthetic.hostile)
    name = "<script>alert(1)</script>"
    table = table_of((study, trials, curves.assign(**{f"task:{name}/accuracy": 0.5, f"task:{name}/value": 2.0})))
    assert f"{name} (%)" in titles(table)
    for ending in (".html", ".md"):
        assert "<script>" not in FORMATS[ending](table)


def test_a_study_without_bytes_has_no_bits_per_byte() -> None:
    study, trials, _ = synthetic.planning()
    table = main_table(study, trials, compare(study, trials), of_answers=True)
    assert "bits per byte" not in titles(table)
    assert "nats per token of the answers" in table.notes[0]
    assert table.data["bits_per_byte_mean"].isna().all()
    with_text, text_trials, _ = synthetic.four_arms()
    one = text_trials.assign(bits_per_byte=text_trials["bits_per_byte"].where(text_trials["seed"] == 0))
    for frame in (text_trials, one, pd.DataFrame(), text_trials.assign(status="pending")):
        found = main_table(with_text, frame, compare(with_text, frame))
        assert "bits per byte" in titles(found)
        assert "nats per token, without" in found.notes[0]


def test_completed_frames_give_the_same_table() -> None:
    study, trials, curves = synthetic.planning()
    assert table_of((study, complete_trials(study, trials), curves)).rows == table_of((study, trials, curves)).rows


def test_the_gap_is_that_of_a_later_share_where_the_main_one_has_none() -> None:
    study, trials, curves = synthetic.planning()
    renamed = {f"task:full_path_forced/{part}": f"task:rest_of_path_forced/{part}" for part in ("accuracy", "chance")}
    curves = curves.rename(columns=renamed)
    place = list(curves.columns).index("task:rest_of_path_forced/accuracy")
    curves.insert(place, "task:rest_of_path/accuracy", curves["task:full_path/accuracy"])
    frames = (study, trials, curves)
    table = table_of(frames)
    gap = 100 * (ends_of(frames, "next token", "rest_of_path_forced/accuracy")
                 - ends_of(frames, "next token", "rest_of_path/accuracy")).mean()  # fmt: skip
    assert column(table, "gap to teacher forcing")[0] == f"{gap:+.1f}"
    assert any(
        "The gap to teacher forcing is rest of path with the right answer so far shown" in n for n in table.notes
    )
    without = curves.drop(columns=[name for name in curves.columns if "_forced" in name])
    assert "gap to teacher forcing" not in titles(table_of((study, trials, without)))
