"""The rooms, and which way their imports point."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("deepsight", "objectives", "baseline_transformer", "ablations", "reports")
MAY_IMPORT = {
    "deepsight": set(),
    "objectives": {"deepsight"},
    "baseline_transformer": {"deepsight"},
    "ablations": {"deepsight", "objectives", "baseline_transformer"},
    "reports": {"deepsight", "ablations"},
    # The composition root.
    "deepsight/cli": set(ROOMS),
}


def modules(room: str) -> list[Path]:
    files = sorted((ROOT / room).rglob("*.py"))
    return [file for file in files if room != "deepsight" or "cli" not in file.relative_to(ROOT).parts]


def imported(file: Path) -> set[str]:
    """Return the top-level names that a file imports, at its head or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    files = modules(room)
    assert files
    allowed = MAY_IMPORT[room] | {room.partition("/")[0]}
    wrong = {str(file.relative_to(ROOT)): imported(file) & set(ROOMS) - allowed for file in files}
    # `python -m deepsight` is the command line.
    wrong.pop("deepsight/__main__.py", None)
    assert {file: rooms for file, rooms in wrong.items() if rooms} == {}


def test_the_model_knows_nothing_of_the_command_line() -> None:
    for file in modules("deepsight"):
        if file.name != "__main__.py":
            assert "deepsight.cli" not in file.read_text(encoding="utf-8"), file


def test_reading_and_reporting_never_import_torch() -> None:
    files = [*modules("reports"), ROOT / "ablations" / "frames.py"]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    assert {"reports.build", "reports.figures", "reports.statistics", "ablations.frames"} <= set(names)
    found = f"[name for name in {names} if importlib.import_module(name) and 'torch' in sys.modules]"
    code = f"import importlib, sys; print({found})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_module_holds_one_idea() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert long == {}
