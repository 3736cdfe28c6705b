"""Two studies side by side: the numbers of each, what they have in common, and nothing that was not tested."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ablations.stored import StoredStudy, read_plan, write_plan
from reports.beside.arms import arms_in_both, arms_only_in
from reports.beside.comparable import measured_differently, reads_other_text, remarks
from reports.beside.figure import differences
from reports.beside.settings import study_differences
from reports.beside.sides import Side
from reports.beside.writing import write_beside
from reports.build import build_beside
from reports.table import Table
from tests.reports import synthetic
from tests.reports.test_page import Elements
from tests.reports.test_report import contents, study_on_disk

BASE = {"preset": "tiny", "data": {"corpus": "pydocs", "tokenizer": "bpe:2048"}, "training": {"steps": 300}}
SEEDS = 6


def other_runs(study: StoredStudy) -> StoredStudy:
    """Return the study with runs of its own, as those of another base are."""
    arms = [
        arm.model_copy(update={"trials": {seed: synthetic.digest(trial, "B") for seed, trial in arm.trials.items()}})
        for arm in study.arms
    ]
    return study.model_copy(update={"arms": arms})


def side(letter: str, losses: Mapping[str, Sequence[float]], **changes: Any) -> Side:
    """A study of these arms, the first one its reference; arms of B are other runs than those of A."""
    texts = changes.pop("texts", {})
    seeds = changes.pop("seeds", SEEDS)
    arms = {name: {"objective.n": place} for place, name in enumerate(losses)}
    study = synthetic.study_of(arms, next(iter(losses)), seeds, name=f"study {letter}")
    if letter == "B" and not changes.pop("same_runs", False):
        study = other_runs(study)
    study = study.model_copy(update=changes)
    trials = synthetic.trials_of(study, losses)
    return Side(letter, f"folder-{letter}", study, trials, synthetic.curves_of(study, trials), texts)


def losses_of(effects: Mapping[str, float], start: float = 4.0) -> dict[str, list[float]]:
    return {name: synthetic.seed_losses(start, effect, SEEDS) for name, effect in effects.items()}


def column(table: Table, title: str) -> dict[str, str]:
    place = [column.title for column in table.columns].index(title)
    return {row[0].text: row[place].text for row in table.rows}


LEFT = losses_of({"baseline": 0, "helps": -0.03, "only left": 0.01})
RIGHT = losses_of({"baseline": 0, "helps": -0.02, "only right": 0.01}, start=3.0)


@pytest.fixture(scope="module")
def sides() -> tuple[Side, Side]:
    base = {**BASE, "training": {"steps": 3000, "learning_rate": 0.001}}
    return side("A", LEFT), side("B", RIGHT, base=base)


@pytest.fixture(scope="module")
def page(sides: tuple[Side, Side], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_beside(*sides, tmp_path_factory.mktemp("beside"))


def test_each_arm_has_the_numbers_of_its_own_study(sides: tuple[Side, Side]) -> None:
    table = arms_in_both(*sides)
    assert table is not None
    assert [row[0].text for row in table.rows] == ["baseline", "helps"]
    for letter, losses in (("A", LEFT), ("B", RIGHT)):
        values = np.array(losses["helps"])
        apart = values - losses["baseline"]
        half = stats.t.ppf(0.975, SEEDS - 1) * apart.std(ddof=1) / math.sqrt(SEEDS)
        row = table.data.set_index("arm").loc["helps"]
        name = letter.lower()
        assert row[f"validation_loss_mean_{name}"] == pytest.approx(values.mean())
        assert row[f"difference_mean_{name}"] == pytest.approx(apart.mean())
        assert row[f"difference_low_{name}"] == pytest.approx(apart.mean() - half)
        assert row[f"difference_high_{name}"] == pytest.approx(apart.mean() + half)
        shown = column(table, f"{letter}: paired difference [95 % interval]")
        number = float(shown["helps"].split(" ")[0].replace("−", "-"))
        assert number == pytest.approx(apart.mean(), abs=5e-4)
        assert shown["baseline"] == "–"
        assert column(table, f"{letter}: verdict") == {"baseline": "reference", "helps": "better"}
    assert column(table, "agreement") == {"baseline": "–", "helps": "same verdict"}
    assert "same runs" not in [column.title for column in table.columns]


def test_arms_of_one_study_stand_apart(sides: tuple[Side, Side]) -> None:
    a, b = sides
    for table, name in ((arms_only_in(a, b), "only left"), (arms_only_in(b, a), "only right")):
        assert table is not None
        assert [row[0].text for row in table.rows] == [name]
    assert arms_only_in(a, a) is None


UP, DOWN, NEAR = (synthetic.seed_losses(4, effect, SEEDS) for effect in (0.05, -0.05, 0.0))
NOISY = [4 + 0.002 * sign + 0.05 * (-1) ** place for place, sign in enumerate([1, 1, 1, 1, 1, 1])]
REFERENCE = [4.0] * 5 + [4.0001]


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (UP, UP, "same verdict"),
        (UP, DOWN, "opposite verdicts"),
        (UP, NOISY, "decided in A only, same sign"),
        (NOISY, DOWN, "decided in B only, opposite sign"),
        (NOISY, NOISY, "undecided in both, same sign"),
        (UP[:4], DOWN, "no verdict in A, opposite sign"),
        (UP[:2], UP[:4], "no verdict in either, same sign"),
        (UP, [], "no pair in B"),
        ([], [], "no pair in either"),
        (REFERENCE, UP, "different verdicts, no difference in A"),
        (REFERENCE, REFERENCE, "same verdict"),
    ],
)
def test_agreement_in_words(left: list[float], right: list[float], words: str) -> None:
    table = arms_in_both(side("A", {"r": REFERENCE, "arm": left}), side("B", {"r": REFERENCE, "arm": right}))
    assert table is not None
    assert column(table, "agreement")["arm"] == words


def test_runs_that_both_studies_have_are_no_second_observation() -> None:
    b = side("B", RIGHT, same_runs=True, seeds=4)
    table = arms_in_both(side("A", LEFT), b)
    assert table is not None
    assert column(table, "same runs") == {"baseline": "4 of 6 trials", "helps": "4 of 6 trials"}
    assert list(table.data["trials_shared"]) == [4, 4]
    told = " ".join(remarks(side("A", LEFT), b))
    assert "8 trials of “baseline” and “helps” are the same runs in both studies" in told
    assert "The reference “baseline” is one of them" in told
    assert "“only left” in A is the same run as “only right” in B." in told
    assert "same run" not in " ".join(remarks(side("A", LEFT), side("B", RIGHT)))


def test_what_differs_and_nothing_else() -> None:
    a, b = side("A", LEFT), side("B", RIGHT, seeds=4, base={**BASE, "training": {"steps": 3000}})
    changed = [
        arm.model_copy(update={"settings": {**arm.settings, "objective.n": 9}}) if arm.name == "helps" else arm
        for arm in b.study.arms
    ]
    b = Side("B", "b", b.study.model_copy(update={"arms": changed}), b.trials, b.curves, {}, "small")
    table = study_differences(a, b)
    assert table is not None
    assert table.data.to_numpy().tolist() == [
        ["study", "seeds", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3]],
        ["base", "preset", None, "small"],
        ["base", "training.steps", 300, 3000],
        ["“helps”", "objective.n", 1, 9],
    ]
    assert study_differences(a, side("B", LEFT)) is None


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ({"data": {"corpus": "pydocs", "tokenizer": "gpt2"}}, ["data.tokenizer"]),
        ({"data": {"corpus": {"name": "files", "path": "x"}, "tokenizer": "bpe:2048"}}, ["data.corpus"]),
        ({"evaluation": {"windows": 8}}, ["evaluation.windows"]),
        ({"evaluation": {"every": 8}}, []),
        ({"model": {"context": 64}}, ["model.context"]),
        ({"model": {"width": 64}}, []),
    ],
)
def test_losses_compare_only_where_they_measure_the_same(part: dict[str, Any], keys: list[str]) -> None:
    a, b = side("A", LEFT), side("B", RIGHT, base={**BASE, **part})
    assert measured_differently(a, b) == keys
    first, second = remarks(a, b)[:2]
    assert first.startswith("Validation losses of A and B cannot be compared with each other: ") == bool(keys)
    assert all(key in first for key in keys)
    assert second.startswith("Their tokenizers differ") == (keys == ["data.tokenizer"])


def test_the_text_that_was_read_is_compared_by_its_digest() -> None:
    one, other = frozenset({"one"}), frozenset({"other"})
    a = side("A", LEFT, texts={"baseline": one, "helps": one})
    for texts, differs, said in (
        ({"baseline": one, "helps": one}, False, "is equal by its digest"),
        ({"baseline": one, "helps": frozenset()}, False, "has not been recorded"),
        ({"baseline": one, "helps": other}, True, "cannot be compared with each other: by its digest"),
    ):
        b = side("B", RIGHT, texts=texts)
        assert reads_other_text(a, b) == differs
        assert said in remarks(a, b)[0]


def test_differences_to_other_references_are_not_set_against_each_other() -> None:
    a = side("A", LEFT)
    b = side("B", {"helps": RIGHT["helps"], "baseline": RIGHT["baseline"]})
    assert any(text.startswith("The references differ (“baseline” in A, “helps” in B)") for text in remarks(a, b))
    c = side("B", {"r": RIGHT["baseline"], "helps": RIGHT["helps"]})
    table = arms_in_both(a, c)
    assert table is not None
    assert column(table, "agreement") == {"helps": "other references"}


def test_nothing_is_tested_across(sides: tuple[Side, Side]) -> None:
    assert remarks(*sides)[-1].startswith("Nothing here tests A against B.")


def test_the_figure_shows_both_means_and_intervals_on_one_axis(sides: tuple[Side, Side]) -> None:
    drawn = differences(*sides)
    assert drawn is not None
    figure = drawn.figure
    assert figure.get_figwidth() == pytest.approx(3.3)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["helps"]
    dots = [line for line in axes.lines if line.get_marker() in "os" and len(line.get_xdata()) == 1]
    expected = [np.mean(np.subtract(losses["helps"], losses["baseline"])) for losses in (LEFT, RIGHT)]
    assert [float(dot.get_xdata()[0]) for dot in dots] == pytest.approx(expected)
    assert len({(dot.get_color(), dot.get_marker()) for dot in dots}) == 2
    assert dots[0].get_ydata()[0] < dots[1].get_ydata()[0]
    legend = figure.legends[0].get_texts()
    assert [text.get_text() for text in legend] == ["A: study A", "B: study B"]
    texts = [*axes.texts, *legend, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    assert all(text.get_fontsize() >= 7 for text in texts)
    assert differences(side("A", {"r": NEAR, "x": []}), side("B", {"r": NEAR, "y": UP})) is None


def test_the_page_is_whole_and_needs_nothing_else(page: Path, sides: tuple[Side, Side]) -> None:
    text = page.read_text()
    elements = Elements(text)
    assert re.findall(r'<section id="([a-z-]+)"', text) == [
        "findings", "comparable", "both", "figures", "only", "full", "repeat"
    ]  # fmt: skip
    assert re.findall(r'<table id="(\w+)"', text) == [
        "study_differences", "arms_in_both", "arms_only_in_a", "arms_only_in_b", "main_a", "main_b"
    ]  # fmt: skip
    assert [tag for tag, _ in elements.elements].count("script") == 1
    assert "default-src 'none'" in text
    ids = elements.all("id")
    assert len(ids) == len(set(ids))
    for link in elements.all("href"):
        assert link[1:] in ids if link.startswith("#") else (page.parent / link).is_file()
    assert text.count('<p class="headline">Of 2 arms compared with “baseline”, 1 is better') == 2
    assert "Too few" not in text
    for one in sides:
        for row in one.main.rows:
            assert f">{row[-1].text}<" in text


def test_the_same_studies_give_the_same_bytes_and_what_is_stale_goes(
    page: Path, sides: tuple[Side, Side], tmp_path: Path
) -> None:
    shutil.copytree(page.parent, tmp_path / "out")
    stale = tmp_path / "out" / "tables" / "stale.csv"
    stale.write_text("")
    write_beside(*sides, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(page.parent)


def test_names_stay_text(tmp_path: Path) -> None:
    study, trials, curves = synthetic.hostile()
    hostile = [Side(letter, "<b>folder</b>", study, trials, curves) for letter in "AB"]
    elements = Elements(write_beside(hostile[0], hostile[1], tmp_path).read_text())
    tags = [tag for tag, _ in elements.elements]
    assert tags.count("script") == 1
    assert not {"b", "i", "img"} & set(tags)
    text = "".join(elements.texts)
    assert "</title><script>alert(1)</script> beside </title><script>alert(1)</script>" in text
    assert "<b>folder</b>" in text


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two studies on disk, of which the second had another preset, and read another text."""
    folder = tmp_path_factory.mktemp("studies")
    for name, preset in (("first", "tiny"), ("second", "small")):
        (folder / name).mkdir()
        study_on_disk(folder / name)
        (folder / name / "study.yaml").write_text(f"name: demo\nbase: {{preset: {preset}}}\n")
        for file in (folder / name).glob("trials/*/result.json"):
            file.write_text(json.dumps({**json.loads(file.read_text()), "data_digest": name}))
    (folder / "torn").mkdir()
    (folder / "torn" / "plan.json").write_text('{"name": "de')
    plan = read_plan(folder / "second")
    write_plan(folder / "second", plan.model_copy(update={"title": "Another question"}))
    return folder


def test_the_command_writes_beside_the_first_study_and_says_where(command_line: Any, studies: Path) -> None:
    answer = command_line("report", studies / "first", studies / "second")
    page = studies / "first" / "beside-second" / "index.html"
    assert (answer.returncode, answer.stdout) == (0, f"The report is at {page}\n")
    text = page.read_text()
    assert "by its digest, the tokenised text that their trials have read is not the same" in text
    assert '<th scope="row" class="words">base</th>\n<td class="words">preset</td>\n<td class="words">tiny</td>' in text
    assert "Another question" in text
    before = contents(page.parent)
    elsewhere = build_beside(studies / "first", studies / "second", studies / "elsewhere")
    assert elsewhere == studies / "elsewhere" / "index.html"
    assert contents(elsewhere.parent) == before


BAD_INPUT = [
    (["first", "first"], "are the same folder; two studies are needed"),
    (["first", "."], ".: there is no study here (no plan.json)"),
    (["gone", "first"], "gone: there is no study here (no plan.json)"),
    (["first", "torn"], "torn/plan.json: this is not a whole plan of a study: "),
    (["--serve", "torn"], "torn/plan.json: this is not a whole plan of a study: "),
    (["first", "second", "first"], "deepsight report takes one study, or two to see side by side, not 3"),
    (["--serve", "first", "second"], "--serve shows one study"),
    (["--serve", "gone"], "gone: there is no study here (no plan.json)"),
    (["first", "--port", "80"], "--port is for --serve"),
    (["first", "--out", "x"], "--out is for two studies side by side"),
    (["first", "second", "--out", "first"], "first: this is not empty and holds no page of two studies"),
    (["first", "second", "--out", "first/plan.json"], "first/plan.json: this is not empty and holds no page"),
]


@pytest.mark.parametrize(("words", "said"), BAD_INPUT)
def test_bad_input_is_one_sentence_and_writes_nothing(
    command_line: Any, studies: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(studies)
    before = contents(studies)
    answer = command_line("report", *words)
    assert answer.returncode == 2
    assert answer.stderr.startswith("Error: ")
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert contents(studies) == before
