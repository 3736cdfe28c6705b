"""A study file becomes a plan, or one sentence that names file, key and the nearest valid thing."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from ablations.study_files import built_in_names, read_study, study_file
from deepsight.errors import UserError
from deepsight.plug_ins import objectives
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import planned, study_data, write_study
from tests.runs import write_text


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


def refusal(folder: Path, data: dict[str, Any]) -> str:
    file = write_study(folder / "study.yaml", data)
    before = sorted(folder.iterdir())
    with pytest.raises(UserError) as caught:
        planned(file)
    assert sorted(folder.iterdir()) == before
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{file}: ")
    return sentence.removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sedes": 3}, "unknown key 'sedes'; did you mean 'seeds'? known: arms, base, control, "),
        ({"name": "a/b"}, "name: "),
        ({"reference": "plian"}, "reference: there is no arm 'plian'; did you mean 'plain'? known: future, plain"),
        (
            {"design": "gird"},
            "design: unknown value 'gird'; did you mean 'grid'? known: grid, leave_one_out, one_at_a_time",
        ),
        ({"seeds": 0}, "seeds: at least one seed is needed, not 0"),
        ({"seeds": [1, 1]}, "seeds: the seeds must be different numbers"),
        ({"base__preset": "tyni"}, "base.preset: unknown preset 'tyni'; did you mean 'tiny'?"),
        ({"base__model__widht": 3}, "base.model: unknown key 'widht'; did you mean 'width'?"),
        ({"base__training__steps": "many"}, "base.training.steps: "),
        ({"base__model__heads": 3}, "base.model.heads: 3 heads do not divide the width 16; nearest widths: 15 or 18"),
        ({"base__data__tokenizer": "byte"}, "base.data.tokenizer: unknown tokenizer 'byte'; did you mean 'bytes'?"),
        ({"base__data__corpus__name": "filse"}, "base.data.corpus: unknown corpus 'filse'; did you mean 'files'?"),
        (
            {"arms__x": {"objective": {"aggregator": "decai"}}},
            "arms.x.objective.aggregator: unknown aggregator 'decai'; did you mean 'decay'? "
            "known: attention_pooling, average, dec",
        ),
        (
            {"base__data__corpus": {"name": "files", "path": "gone"}},
            "base.data.corpus.path: there is no file or folder 'gone'",
        ),
        (
            {"arms__x": {"data": {"corpus": {"name": "files", "path": "gone"}}}},
            "arms.x.data.corpus.path: there is no file or folder 'gone'",
        ),
        ({"arms__x": {"objective": {"nn": 3}}}, "arms.x.objective: unknown key 'nn'; did you mean 'n'?"),
        ({"arms__x": {"objective": {"n": 16}}}, "arms.x.objective.0.n: the horizon 16 needs a context longer than 16"),
        ({"arms__x": {"objective": "futur_context"}}, "arms.x.objective: unknown objective 'futur_context'; did you"),
        ({"arms__x": {"model": {"architecture": "basline"}}}, "arms.x.model.architecture: unknown architecture"),
        ({"arms__x": {"model": {"layers": 3}}}, "arms.x.model.layers: deepsight needs [encoder, decoder] layers"),
        ({"arms__x": {"model": {"match": "params"}}}, "arms.x.model.match: unknown value 'params'; did you mean"),
        ({"factors": {"objective.m": [1, 2]}}, "factors.objective: unknown key 'm'"),
        ({"factors": {"objective.n": []}}, "factors.objective.n: "),
        ({"seeds": 10**9}, "seeds: a study has at most 1,000 seeds"),
        ({"tuning_seeds": 2}, "tuning_seeds: there is nothing to tune: the key 'tune' is missing"),
        ({"control": "yes"}, "control: "),
    ],
)
def test_what_is_wrong_is_one_sentence(text: Path, tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    assert refusal(tmp_path, study_data(text, **changes)).startswith(expected)


def test_a_study_of_nothing_is_refused(text: Path, tmp_path: Path) -> None:
    data = study_data(text)
    data["arms"] = {}
    assert refusal(tmp_path, data) == "a study needs factors, arms or groups"


def test_a_solved_width_may_not_be_given_too(text: Path, tmp_path: Path) -> None:
    arm = {"model": {"architecture": "baseline", "match": "parameters", "width": 20}}
    assert refusal(tmp_path, study_data(text, arms__x=arm)) == (
        "arms.x.model.width: match solves the width: leave it out here"
    )


NAMES = {
    "a line\nand another": r"'a line\nand another'",
    "\x1b[31mred": r"'\x1b[31mred'",
    "turned \u202eround": r"'turned \u202eround'",
    "x" * 201: f"'{'x' * 60}…'",
    " ": "' '",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["title", "arms", "groups", "groups.g.arms", "factors"])
def test_a_name_is_printable_text_in_one_line(text: Path, tmp_path: Path, name: str, place: str) -> None:
    data = study_data(text)
    what, where = "an arm's name", place
    match place:
        case "title":
            data["title"], what = name, "a study's title"
        case "arms":
            data["arms"][name] = {}
        case "groups":
            data["groups"], what = {name: {"arms": {"x": {}}}}, "a group's name"
        case "groups.g.arms":
            data["groups"] = {"g": {"arms": {name: {}}}}
        case "factors":
            data["factors"] = {"objective": [name]}
    said = refusal(tmp_path, data)
    keys = f"the key {NAMES[name]} has characters that cannot be printed"
    if place == "factors":
        assert said.startswith("factors: an arm's name must be printable" if name.strip() else "factors.objective: ")
    elif place == "title" or name.isprintable():
        expected = f"must be printable text in one line, of at most 200 characters, not {NAMES[name]}"
        assert said == f"{where}: {what} {expected}"
    else:
        assert said == keys


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("on: 3\n", "the key True is no text; if a word is meant, put it in quotes"),
        ("2020-01-01: 3\n", "the key datetime.date(2020, 1, 1) is no text; if a word is meant, put it in quotes"),
        ("base: &a {x: *a}\n", "this is nested too deeply for a study: more than 40 levels"),
        ('title: "\\ud800"\n', r"the text '\ud800' cannot be written to a file: it holds half a character"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{after}: &{after} [{', '.join([f'*{one}'] * 10)}]\n" for one, after in itertools.pairwise("abcdefghi")
            ),
            "this is too much for a study: more than 100,000 values",
        ),
    ],
)
def test_a_file_that_no_study_can_be_is_one_sentence(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_study(file)
    assert str(caught.value) == f"{file}: {expected}"


def test_a_number_may_name_an_arm(text: Path, tmp_path: Path) -> None:
    plan = planned(write_study(tmp_path / "study.yaml", study_data(text) | {"arms": {3: None}, "reference": "3"}))
    assert [arm.name for arm in plan.study.arms] == ["3"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n- b\n", "a study is a mapping"),
        ("name: x\nname: y\n", "the key 'name' stands twice"),
        ("name: [", "this is not valid YAML"),
        ("name: !!python/object/apply:os.system [true]\n", "this is not valid YAML"),
    ],
)
def test_what_is_no_study_is_said(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=expected) as caught:
        read_study(file)
    assert str(caught.value).startswith(str(file))


def test_a_missing_study_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown study 'dmeo'; did you mean 'demo'"):
        study_file("dmeo")
    with pytest.raises(UserError, match=r"nowhere\.yaml: there is no such file"):
        study_file("nowhere.yaml")


@pytest.mark.parametrize("name", [name for name in built_in_names() if not read_study(study_file(name)).scales])
def test_built_in_studies_can_be_planned(name: str) -> None:
    plan = planned(study_file(name))
    assert plan.study.name == name
    assert plan.trials


@pytest.mark.parametrize("name", ["objectives", "objectives-little-text"])
def test_the_studies_of_all_objectives_leave_none_out(name: str) -> None:
    study = read_study(study_file(name))
    written = [changes.get("objective", study.base["objective"]) for changes in study.arms.values()]
    assert {spec if isinstance(spec, str) else spec["name"] for spec in written} == {"none", *objectives.names()} - {
        "inert"
    }
