"""Presets and files that stand on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepsight.config import run_config
from deepsight.errors import UserError
from deepsight.presets import expanded, load_run, preset, preset_names
from deepsight.yaml_files import dump_yaml, parse_yaml

NAMES = [
    "tiny",
    "small",
    "deepsight-paper",
    "encoder-decoder-paper",
    "baseline-paper",
    "smaller-baseline-paper",
    "dropout-baseline-paper",
    "gpt2-124m",
]


def test_the_promised_presets_are_there() -> None:
    assert preset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_a_complete_run(name: str) -> None:
    run = load_run(name)
    assert run_config(parse_yaml(dump_yaml(run.complete()), name)) == run


def test_the_published_shapes() -> None:
    paper, baseline = load_run("deepsight-paper"), load_run("baseline-paper")
    assert (paper.model.width, paper.model.heads, paper.model.cross_heads) == (150, 5, 10)
    assert (paper.model.layers, paper.model.context, paper.training.steps) == ([13, 13], 400, 9000)
    assert (paper.objective[0]["name"], paper.objective[0]["n"]) == ("future_context", 11)
    assert (baseline.model.width, baseline.model.heads, baseline.model.layers) == (160, 10, 26)
    assert baseline.objective == []
    assert load_run("dropout-baseline-paper").model.dropout > 0
    sibling = load_run("encoder-decoder-paper")
    assert sibling.model.context == 200
    assert sibling.model.model_copy(update={"architecture": "deepsight", "context": 400}) == paper.model
    assert [(spec["name"], spec["coefficient"]) for spec in sibling.objective] == [("embedding", 8.0)]
    assert baseline.data == paper.data
    assert baseline.training == paper.training


def test_a_preset_is_not_changed_by_what_stands_on_it() -> None:
    expanded({"preset": "tiny", "model": {"width": 128}})
    preset("tiny")["model"]["width"] = 7
    assert load_run("tiny").model.width == 64


def test_settings_lie_over_the_preset() -> None:
    run = load_run("tiny", {"training.steps": 5, "objective.n": 3, "model": {"dropout": 0.1}})
    assert (run.training.steps, run.objective[0]["n"], run.model.dropout, run.model.width) == (5, 3, 0.1, 64)


def test_a_file_stands_on_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("preset: tiny\ntraining: {learning_rate: 1e-4}\nobjective: none\n", encoding="utf-8")
    run = load_run(str(file), {"training.steps": 7})
    assert (run.training.learning_rate, run.training.steps, run.objective) == (1e-4, 7, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("preset: tinny\n", "preset: unknown preset 'tinny'; did you mean 'tiny'? known: baseline-paper, "),
        ("preset: 3\n", "preset: a preset's name is needed, not 3"),
        ("preset: tiny\ntrainin: {}\n", "unknown key 'trainin'; did you mean 'training'?"),
        ("preset: tiny\nmodel.width.x: 3\n", "the key 'model.width.x' goes into 64, which has no keys"),
        ("- 1\n", "a run is a mapping of keys to values"),
    ],
)
def test_mistakes_in_a_file_name_it(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_run(str(file))
    assert str(caught.value).startswith(f"{file}: {said}")


def test_what_is_neither_preset_nor_file() -> None:
    with pytest.raises(UserError, match=r"^unknown preset 'tinyy'; did you mean 'tiny'\?"):
        load_run("tinyy")
    with pytest.raises(UserError, match=r"^nothing\.yaml: there is no such file$"):
        load_run("nothing.yaml")
