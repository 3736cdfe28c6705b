"""What is wrong with a plug-in is one sentence with its file and line, whichever command meets it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ablations.attempts import read_history
from deepsight import plug_ins
from deepsight.cli import app
from deepsight.plug_ins import REGISTRIES
from deepsight.yaml_files import dump_yaml
from tests.ablations.studies import study_data
from tests.runs import run_data, write_text
from tests.typechecking import unchecked

GOOD = '''"""A plug-in."""

import torch
from torch import Tensor, nn

from deepsight.trace import Shape, Trace
from objectives import Objective, objectives


@objectives.register("mine")
class Mine(Objective):
    """A penalty on the state."""

    def __init__(self, shape: Shape, scale: float = 1.0) -> None:
        super().__init__()
        self.head = nn.Linear(shape.width, 1)
        self.scale = scale

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        loss = self.head(trace.attached).square().mean()
        return {"loss": self.scale * loss}
'''


def changed(*changes: tuple[str, str]) -> tuple[str, int]:
    """Return the good plug-in with some of its text replaced, and the line of the first change."""
    text = GOOD
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text, GOOD[: GOOD.index(changes[0][0])].count("\n") + 1


RETURN = '        return {"loss": self.scale * loss}\n'
REGISTERED = 10
"""Line of the decorator, which is where Python says that the class begins."""

DIAGNOSTICS = RETURN + "\n    def diagnostics(self, trace):\n        return {'state': trace.attached}\n"
PREPARE = RETURN + "\n    def prepare(self, preparation):\n        self.rows = preparation.model.rows\n"
AFTER_STEP = RETURN + "\n    def after_step(self, model):\n        model.gone.copy_(1)\n"
EDIT = "        with torch.no_grad():\n            trace.attached.add_(1)\n        loss = self"

AT_LOADING = {
    "syntax error": (changed(("class Mine(Objective):", "class Mine(Objective:")), None, "is not valid Python"),
    "import error": (
        changed(("import torch\n", "import torhc\n")),
        None,
        "ModuleNotFoundError: No module named 'torhc'",
    ),
    "untyped parameter": (
        changed(("scale: float = 1.0", "scale=1.0")),
        REGISTERED,
        "the parameter 'scale' of the objective 'mine' has no type",
    ),
    "missing shape": (
        changed(("shape: Shape, ", ""), ("shape.width", "16")),
        REGISTERED,
        "the objective 'mine' must take 'shape'",
    ),
    "name taken": (
        changed(('"mine"', '"future_context"')),
        REGISTERED,
        "the objective 'future_context' is already registered by",
    ),
}
AT_PLANNING = {
    "wrong shape": (
        changed(("self.head(trace.attached)", "self.head(trace.attached[..., 1:])")),
        None,
        "the objective 'mine' fails: RuntimeError: ",
    ),
    "wrong shape at the end": (
        changed((".square().mean()", ".square()")),
        REGISTERED,
        "must return a scalar tensor 'loss', not one of shape (",
    ),
    "no loss": (changed(('{"loss":', '{"los":')), REGISTERED, "must return a dict with a tensor 'loss', not one with"),
    "no dict": (
        changed(('{"loss": self.scale * loss}', "loss")),
        REGISTERED,
        "must return a dict with a tensor 'loss'",
    ),
    "fails when built": (
        changed(("nn.Linear(shape.width, 1)", "nn.Linear(shape.widht, 1)")),
        None,
        "the objective 'mine' fails: AttributeError: 'Shape' object has no attribute 'widht'",
    ),
    "fails when prepared": (
        changed((RETURN, PREPARE)),
        23,
        "the objective 'mine' fails: AttributeError: ",
    ),
    "no module": (
        changed(
            ("class Mine(Objective):", "class Mine:"),
            ("        super().__init__()\n", ""),
        ),
        REGISTERED,
        "must be a torch Module, not Mine",
    ),
}
AT_RUNNING = {
    "nan": (
        changed(("self.scale * loss}", 'self.scale * loss * float("nan")}')),
        REGISTERED,
        "not finite",
    ),
    "edits the trace": (
        changed(("        loss = self", EDIT)),
        REGISTERED,
        "changes the trace that it reads, in place",
    ),
    "bad diagnostics": (
        changed((RETURN, DIAGNOSTICS)),
        REGISTERED,
        "must return a scalar tensor 'state', not one of shape",
    ),
    "fails after a step": (
        changed((RETURN, AFTER_STEP)),
        23,
        "the objective 'mine' fails: AttributeError: ",
    ),
}


@pytest.fixture(autouse=True)
def _registries_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_components", dict(registry._components))
    monkeypatch.setattr(plug_ins, "_loaded", {})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


class Commands:
    """Runs commands in this process, on one plug-in file."""

    def __init__(self, folder: Path, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        self.plugin = folder / "mine.py"
        steps = {"training__steps": 2, "evaluation__every": 2}
        run = run_data(text, objective="mine", **steps)
        (folder / "run.yaml").write_text(dump_yaml(run), encoding="utf-8")
        study = study_data(text, **{f"base__{key}": value for key, value in steps.items()})
        study |= {"arms": {"plain": {"objective": "none"}, "future": {"objective": "mine"}}, "seeds": 1}
        (folder / "study.yaml").write_text(dump_yaml(study), encoding="utf-8")

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, what was printed, and what was printed as an error."""
        self.monkeypatch.setattr(sys, "argv", ["deepsight", *words])
        self.monkeypatch.setenv("COLUMNS", "300")
        self.monkeypatch.chdir(self.folder)
        self.capsys.readouterr()
        code: object = 0
        try:
            with unchecked():
                app.main()
        except SystemExit as ended:
            code = ended.code or 0
        said = self.capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    def train(self) -> tuple[int, str, str]:
        return self("train", "run.yaml", "--plugin", "mine.py", "--out", "run")

    def ablate(self, *more: str) -> tuple[int, str, str]:
        return self("ablate", "study.yaml", "--plugin", "mine.py", "--out", "study", "--workers", "1", *more)

    def check(self) -> tuple[int, str, str]:
        return self("objectives", "check", "mine.py")


@pytest.fixture
def commands(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Commands:
    return Commands(tmp_path, text, monkeypatch, capsys)


def each(cases: dict[str, tuple[tuple[str, int], int | None, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("content", "line", "said"),
        [(text, line or changed_at, said) for (text, changed_at), line, said in cases.values()],
        ids=list(cases),
    )


def is_one_sentence(sentence: str, plugin: Path, line: int, said: str) -> None:
    assert "Traceback" not in sentence
    assert sentence.count("\n") <= 1
    assert said in sentence
    # A decorator is where a class begins, or the line after it, by the version of Python.
    assert any(f"{plugin}:{near}" in sentence or f"mine.py:{near}" in sentence for near in (line, line + 1)), sentence


@each(AT_LOADING)
def test_what_is_known_when_it_is_loaded(commands: Commands, content: str, line: int, said: str) -> None:
    commands.plugin.write_text(content, encoding="utf-8")
    for command in (commands.train, commands.ablate, commands.check):
        code, _, err = command()
        assert code == 2
        is_one_sentence(err, commands.plugin, line, said)
    assert not (commands.folder / "run").exists()
    assert not (commands.folder / "study").exists()


@each(AT_PLANNING)
def test_what_is_known_when_a_study_is_planned(commands: Commands, content: str, line: int, said: str) -> None:
    commands.plugin.write_text(content, encoding="utf-8")
    for command in (commands.train, lambda: commands.ablate("--dry-run")):
        code, _, err = command()
        assert code == 2
        is_one_sentence(err, commands.plugin, line, said)
    code, out, err = commands.check()
    assert (code, err) == (1, "")
    failures = [found for found in out.splitlines() if "✗" in found and "as above" not in found]
    for failure in failures:
        is_one_sentence(failure, commands.plugin, line, said)
    assert failures


@each(AT_RUNNING)
def test_what_shows_in_a_run(commands: Commands, content: str, line: int, said: str) -> None:
    commands.plugin.write_text(content, encoding="utf-8")
    code, _, err = commands.train()
    assert code == 2
    is_one_sentence(err, commands.plugin, line, said)
    code, out, _ = commands.check()
    assert code == 1
    assert any(said in found for found in out.splitlines() if "✗" in found)


@pytest.mark.slow
@pytest.mark.parametrize("case", AT_RUNNING)
def test_a_trial_says_what_it_died_of(commands: Commands, case: str) -> None:
    (content, changed_at), line, said = AT_RUNNING[case]
    commands.plugin.write_text(content, encoding="utf-8")
    code, out, err = commands.ablate()
    if case == "edits the trace":
        # Planning takes a step too.
        assert code == 2
        is_one_sentence(err, commands.plugin, line or changed_at, said)
        return
    assert code == 1
    histories = [read_history(trial).last for trial in (commands.folder / "study" / "trials").iterdir()]
    (message,) = [last.message for last in histories if last is not None and last.failed]
    is_one_sentence(message, commands.plugin, line or changed_at, said)
    assert message in out


def test_the_good_one_is_good(commands: Commands) -> None:
    commands.plugin.write_text(GOOD, encoding="utf-8")
    assert commands.train()[0] == 0
    assert commands.ablate("--dry-run")[0] == 0
