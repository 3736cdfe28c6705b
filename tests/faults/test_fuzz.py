"""A thousand study files with something wrong in them: each gives a plan or one sentence, and never a file."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ablations.plan import plan_study
from ablations.study_files import read_study
from deepsight.cli.app import app, main
from deepsight.errors import UserError
from deepsight.yaml_files import dump_yaml
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import study_data
from tests.faults.trouble import TORTURE
from tests.runs import write_text

FILES = 5000 if TORTURE else 1000
ODD: list[Any] = [
    None, True, -1, 0, 10**6, 10**30, 0.5, float("nan"), float("inf"), "", "x", "none", "3e-4", "../../etc/passwd", "/",
    "a\nb",
    "\x1b[2J", "<script>alert(1)</script>", "[bold]", "é" * 300, [], [[]], {}, [None], {"name": "none"}, {"name": 3},
    {"name": "future_context", "n": -3}, {"": ""}, {1: 2}, [1, "a"], "!!python/object:os.system", "model.width == 3",
]  # fmt: skip
KEYS = [
    "name", "base", "seeds", "arms", "factors", "groups", "where", "tune", "control", "reference", "design", "title",
    "model", "training", "objective", "match", "steps", "n", "__class__", "model.width", "objective.n", "x.y.z", "..",
    "",
]  # fmt: skip


def rich_study(text: Path) -> dict[str, Any]:
    """A valid study that uses everything a study can say."""
    data = study_data(text)
    data |= {
        "factors": {"objective.n": [3, 5]},
        "where": ["objective.n > 2"],
        "groups": {"sizes": {"base": {"objective": "none"}, "factors": {"model.width": [16, 32]}, "design": "grid"}},
        "control": True,
        "seeds": 1,
    }
    return data


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value in nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def mutated(data: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Return a copy with one to three things changed."""
    changed = copy.deepcopy(data)
    for _ in range(dice.randint(1, 3)):
        container, key = dice.choice(list(places(changed)))
        match dice.choice(["replace", "replace", "remove", "rename", "add", "swap"]):
            case "replace":
                container[key] = copy.deepcopy(dice.choice(ODD))
            case "remove":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[dice.choice(KEYS)] = container.pop(key)
            case "add" if isinstance(container, dict):
                container[dice.choice(KEYS)] = copy.deepcopy(dice.choice(ODD))
            case "swap":
                other, place = dice.choice(list(places(changed)))
                if place in other if isinstance(other, dict) else place < len(other):
                    container[key] = copy.deepcopy(other[place])
        if not changed:
            break
    return changed


def garbled(text: str, dice: random.Random) -> str:
    """Return a text with a few characters changed."""
    letters, odd = list(text), ["", ":", "-", "[", "}", "&a ", "*a ", "!", "\t", "\0", "'"]
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(letters))
        letters[place : place + dice.randint(0, 2)] = dice.choice(odd)
    return "".join(letters)


def refusal(file: Path) -> str | None:
    """Return the sentence that a study file is refused with, None where it gives a plan."""
    try:
        plan_study(read_study(file), file, "deepsight ablate")
    except UserError as error:
        return str(error)
    return None


@pytest.mark.slow
def test_any_study_file_is_a_plan_or_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)
    text, folder = write_text(tmp_path / "text", documents=4), tmp_path / "here"
    folder.mkdir()
    file = folder / "study.yaml"
    data, dice = rich_study(text), random.Random(11)
    plans = 0
    for number in range(FILES):
        written = dump_yaml(mutated(data, dice))
        file.write_text(garbled(written, dice) if number % 4 == 0 else written, encoding="utf-8")
        said = refusal(file)
        if said is None:
            plans += 1
        else:
            assert said.startswith(str(file)), said
            assert said.isprintable(), said
            assert len(said) < 2_000
        assert [path.name for path in folder.iterdir()] == ["study.yaml"]
    assert plans > FILES / 20
    assert plans < FILES / 2


@pytest.mark.parametrize(
    "content",
    ["name: [", "- 1", "name: small\nname: other", "!!python/object/apply:os.getcwd []", "a: &a [*a]", "[" * 3000],
)
def test_the_command_says_it_in_one_line_and_ends_with_two(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(content, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["deepsight", "ablate", "study.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_names_do_nothing_on_the_terminal(tmp_path: Path) -> None:
    data = study_data(write_text(tmp_path / "text", documents=4), seeds=1)
    data["arms"]["[red]<b>[/]"] = {"objective.n": 5}
    data["title"] = "[bold]Does it?[/nothing]"
    (tmp_path / "study.yaml").write_text(dump_yaml(data), encoding="utf-8")
    arguments = ["ablate", str(tmp_path / "study.yaml"), "--dry-run", "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    assert "[red]<b>[/]" in answer.output
    assert "[bold]Does it?[/nothing]" in answer.output
    assert not (tmp_path / "out").exists()
