"""`deepsight objectives`: the list, one component in whole, the check, and the start of one's own."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepsight import plug_ins
from deepsight.cli.beginning import write_objective
from deepsight.describing import component_named, docstring_of, parameters_of, type_name
from deepsight.errors import UserError
from deepsight.plug_ins import REGISTRIES, load_plugins, objectives
from deepsight.presets import load_run

PLUGIN = '''
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from objectives import Objective, aggregators, objectives


@objectives.register("foretells", formula="nothing", source="nobody (2026), eq. 1")
class Foretells(Objective):
    """Foretells what comes.

    It has two
    paragraphs.

    Args:
        shape: of the model.
        n: how far,
            in positions.
        mode, way: how it goes.

    Raises:
        UserError: never.

    """

    attach = "encoder"

    def __init__(self, shape, n: Annotated[int, Field(ge=2)], mode: Literal["a", "b"] = "a", way: float | None = None):
        super().__init__()
        self.head = nn.Linear(shape.width, 1)

    def forward(self, trace) -> dict[str, Tensor]:
        return {"loss": self.head(trace.attached).square().mean()}


@aggregators.register("nearest")
class Nearest(nn.Module):
    """The next embedding."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, embeddings, tokens=None):
        return embeddings[:, 1 : embeddings.shape[1] - self.n + 1]
'''


@pytest.fixture(autouse=True)
def _registries_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_components", dict(registry._components))
    monkeypatch.setattr(plug_ins, "_loaded", {})


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "plugin.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


@pytest.fixture
def deepsight(command_line: Any) -> Any:
    """Return a function that runs `deepsight objectives WORDS` in this process: (exit code, stdout, stderr)."""

    def run(*words: str | Path, columns: int = 100) -> tuple[int, str, str]:
        answer = command_line("objectives", *words, columns=columns)
        return answer.returncode, answer.stdout, answer.stderr

    return run


@pytest.mark.parametrize("columns", [80, 100, 130, 160])
def test_the_list_names_everything_within_the_columns(deepsight: Any, columns: int) -> None:
    code, out, _ = deepsight(columns=columns)
    assert code == 0
    assert max(len(line) for line in out.splitlines()) <= columns
    for registry in REGISTRIES:
        assert re.search(rf"^{registry.plural} \({len(registry.names())}\)", out, re.MULTILINE)
        for name in registry.names():
            assert re.search(rf"^ ?{name} ", out, re.MULTILINE), name
    words = out.split()
    assert "n=11" in words
    assert "norm_affine=true" in words


def test_one_kind_alone(deepsight: Any) -> None:
    _, out, _ = deepsight("--kind", "distance")
    assert out.startswith("distances (")
    assert "objectives" not in out
    code, _, err = deepsight("--kind", "distanse")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown kind 'distanse'; did you mean 'distance'?" in err


def test_json_holds_what_is_registered(deepsight: Any, plugin: Path) -> None:
    _, out, _ = deepsight("--json", "--plugin", plugin)
    found = {(entry["kind"], entry["name"]): entry for entry in json.loads(out)}
    assert set(found) == {(registry.kind, name) for registry in REGISTRIES for name in registry.names()}
    mine = found["objective", "foretells"]
    assert mine["from"] == mine["file"] == str(plugin)
    assert mine["attach"] == "encoder"
    assert mine["parameters"] == [
        {"name": "n", "type": "int ≥ 2", "default": None, "description": "how far, in positions."},
        {"name": "mode", "type": "a | b", "default": "a", "description": "how it goes."},
        {"name": "way", "type": "float or null", "default": "null", "description": "how it goes."},
    ]
    assert found["objective", "future_context"]["from"] == "deepsight"


def test_one_component_in_whole(deepsight: Any, plugin: Path) -> None:
    _, out, _ = deepsight("foretells", "--plugin", plugin)
    assert out.startswith("foretells · objective\n")
    assert "It has two paragraphs." in out
    assert "  UserError: never." in out
    assert "Args:" not in out
    assert f"{plugin}:10" in re.sub(r"\s+", "", out)
    assert re.search(r"source +nobody \(2026\), eq\. 1", out)
    assert re.search(r"n +must be given +int ≥ 2 +how far, in positions\.", out)
    assert "encoder, by default" in out
    assert "the key 'n' is missing" in out


def test_the_cost_of_an_objective_is_that_of_the_preset(deepsight: Any, counted_once: Any) -> None:
    _, out, _ = deepsight("future_context", columns=160)
    plain, own = (counted_once(load_run("tiny", {"objective": name})) for name in ("none", "future_context"))
    more = own.training_flops_per_token - plain.training_flops_per_token
    assert f"{own.training_only:,} parameters of training only; {more:+,} training FLOPs per token" in out
    cost = json.loads(deepsight("future_context", "--json")[1])["cost"]
    assert cost["training_flops_per_token"] == own.training_flops_per_token


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["futur_context"], "no component is called 'futur_context'; did you mean 'future_context'?"),
        (["none"], "several components are called 'none': write predictor/none or normaliser/none"),
        (["predictor/nome"], "unknown predictor 'nome'; did you mean 'none'?"),
        (["predicter/none"], "unknown kind 'predicter'; did you mean 'predictor'?"),
        (["check", "futur_context"], "no component is called 'futur_context'"),
        (["check", "gone.py"], "gone.py: there is no such plug-in file"),
        (["check", "architecture/baseline"], "'baseline' is of the kind architecture; checked are objective, "),
        (["check", "mse", "--set", "n"], "--set n: write it as key=value"),
        (["new", "2x"], "'2x' cannot name an objective: use letters, digits and _"),
        (["new", "class"], "'class' cannot name an objective"),
        (["new", "future_context"], "the name 'future_context' is taken"),
        (["new", "json"], "'json' is a Python module already"),
    ],
)
def test_what_a_person_gets_wrong_is_one_sentence(
    deepsight: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = deepsight(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: {said}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_component_by_kind_and_name(deepsight: Any) -> None:
    assert deepsight("normaliser/none")[1].startswith("none · normaliser\n")
    assert component_named("predictor/none").kind == "predictor"


def test_a_package_that_cannot_be_imported_spoils_its_own_row_alone(
    deepsight: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = objectives._entry_points()
    (entry_point,) = found["future_context"]
    broken = type(entry_point)("broken", "no_such_module:Objective", entry_point.group)
    monkeypatch.setattr(objectives, "_entry_points", lambda: found | {"broken": [broken]})
    code, out, _ = deepsight("--kind", "objective", columns=160)
    assert code == 0
    assert "ModuleNotFoundError" in out
    assert "future_context" in out
    listed = json.loads(deepsight("--kind", "objective", "--json")[1])
    assert "cannot be imported" in next(entry for entry in listed if entry["name"] == "broken")["error"]


def test_check_of_a_file_checks_all_that_it_registers(deepsight: Any, plugin: Path) -> None:
    plugin.write_text(PLUGIN.replace("Field(ge=2)]", "Field(ge=2)] = 2"), encoding="utf-8")
    code, out, err = deepsight("check", plugin)
    assert (code, err) == (0, "")
    assert re.search(rf"^foretells · objective · {re.escape(str(plugin))}:10$", out, re.MULTILINE)
    assert re.search(r"^nearest · aggregator · ", out, re.MULTILINE)
    assert "✗" not in out
    assert out.count("  ✓ ") == 12
    assert re.search(r"a step of the preset tiny takes [\d.]+ ms without it and [\d.]+ ms with it", out)


def test_check_says_what_is_broken_and_ends_with_one(deepsight: Any, plugin: Path) -> None:
    plugin.write_text(PLUGIN.replace("embeddings[:, 1 :", "embeddings[:, 0 :"), encoding="utf-8")
    code, out, _ = deepsight("check", plugin)
    assert code == 1
    assert f"  ✗ configuration survives YAML: {plugin}:10: the key 'n' is missing" in out
    assert "  ✗ one seed gives one result: as above" in out
    assert re.search(
        rf"  ✗ keeps the contract of its kind, aggregator: {re.escape(str(plugin))}:\d+: the aggregator", out
    )
    assert deepsight("check", "foretells", "--set", "n=3", "--plugin", plugin)[0] == 0


def test_a_file_that_registers_nothing_to_check(deepsight: Any, plugin: Path) -> None:
    plugin.write_text("x = 1\n", encoding="utf-8")
    code, _, err = deepsight("check", plugin)
    assert code == 2
    assert f"{plugin}: this file registers nothing that can be checked" in err


def test_new_writes_an_objective_that_passes_its_own_test(deepsight: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    code, out, _ = deepsight("new", "two_back", "--out", folder)
    assert code == 0
    assert f"deepsight objectives check {folder / 'two_back.py'}" in out
    assert sorted(file.name for file in folder.iterdir()) == ["test_two_back.py", "two_back.py"]
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    answer = subprocess.run(
        call, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert answer.returncode == 0, answer.stdout
    assert "12 passed" in answer.stdout
    before = (folder / "two_back.py").read_text(encoding="utf-8")
    code, _, err = deepsight("new", "two_back", "--out", folder)
    assert code == 2
    assert f"{folder / 'two_back.py'}: this file exists already" in err
    assert (folder / "two_back.py").read_text(encoding="utf-8") == before


def test_the_test_of_new_fails_where_the_objective_is_wrong(tmp_path: Path) -> None:
    objective, test = write_objective("two_back", tmp_path)
    text = objective.read_text(encoding="utf-8")
    objective.write_text(text.replace("trace.ahead(self.k)", "trace.ahead(1)"), encoding="utf-8")
    with pytest.raises(AssertionError):
        runpy.run_path(str(test))["test_the_formula_by_hand"]()


def test_types_in_words() -> None:
    from typing import Annotated, Literal

    from pydantic import Field

    parameters = {parameter.name: parameter for parameter in parameters_of(objectives["future_context"])}
    assert parameters["n"].type == "int ≥ 1"
    assert parameters["aggregator"].type == "an aggregator"
    assert parameters["norm"].type == "none | before | after | both"
    assert type_name(list[Annotated[int, Field(ge=0, lt=9)]] | None) == "list of int ≥ 0 < 9 or null"
    assert type_name(Literal[1, "two"]) == "1 | two"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_descriptions_are_of_parameters_that_exist(registry: Any) -> None:
    for component in registry:
        known = {*component.parameters.model_fields, *registry.supplied, *registry.offered}
        assert set(docstring_of(component).parameters) <= known, component.name


def test_unknown_names_in_the_library_are_user_errors(plugin: Path) -> None:
    with pytest.raises(UserError, match="no component is called 'foretells'"):
        component_named("foretells")
    load_plugins([plugin])
    assert component_named("foretells").name == "foretells"
