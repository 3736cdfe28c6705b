"""The example of an installable plug-in, installed into a clean environment and used in a study there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ablations import curves, load
from deepsight.plug_ins import objectives
from deepsight.yaml_files import dump_yaml
from tests.ablations.studies import study_data
from tests.runs import write_text

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"


def command(python: Path, *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    call = [str(python), *map(str, words)]
    answer = subprocess.run(
        call, cwd=folder, capture_output=True, text=True, check=False, env=environment | {"COLUMNS": "160"}
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer


ONE_AFTER_ANOTHER = """
import sys
from deepsight.cli import app
for words in [line.split() for line in sys.argv[1:]]:
    sys.argv = ["deepsight", *words]
    try:
        app.main()
    except SystemExit as ended:
        if ended.code:
            raise
    print(end="\\0", flush=True)
"""


def outputs(python: Path, *lines: str, folder: Path) -> list[str]:
    """Return what commands print, run one after another in one process: most of the time goes into its start."""
    return command(python, "-c", ONE_AFTER_ANOTHER, *lines, folder=folder).stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment: it sees this one's packages, and the example is installed in it."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("clean")
    command(Path(sys.executable), "-m", "venv", "--without-pip", "environment", folder=folder)
    python = folder / "environment" / "bin" / "python"
    found = command(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder)
    # A plain path would leave out what stands in .pth files there, such as our own editable installation.
    seen = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(found.stdout.strip()) / "beside.pth").write_text(seen, encoding="utf-8")
    # From a copy: building leaves folders beside the sources.
    source = shutil.copytree(EXAMPLE, folder / "plugin")
    install = ("-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    command(Path(sys.executable), *install, "--no-index", "--no-deps", "--no-build-isolation", source, folder=folder)
    return python


@pytest.mark.slow
def test_it_is_listed_with_the_package_that_it_comes_from(python: Path, tmp_path: Path) -> None:
    lines = ("objectives --json", "objectives --kind objective", "objectives recurrence")
    listed, table, shown = outputs(python, *lines, folder=tmp_path)
    found = {(entry["kind"], entry["name"]): entry for entry in json.loads(listed)}
    assert found["objective", "recurrence"]["from"] == "deepsight-recurrence 0.1.0"
    assert found["aggregator", "first_and_last"]["from"] == "deepsight-recurrence 0.1.0"
    assert found["objective", "future_context"]["from"] == "deepsight"
    # Not in the environment of these tests: it came by being installed.
    assert "recurrence" not in objectives
    assert "from deepsight-recurrence" in table
    assert re.search(r"comes from +deepsight-recurrence 0\.1\.0", shown)


@pytest.mark.slow
def test_a_study_with_it_runs(python: Path, tmp_path: Path) -> None:
    study = study_data(write_text(tmp_path / "text"), base__training__steps=4)
    study["arms"] = {
        "objective": {"objective": {"name": "recurrence", "n": 4}},
        "aggregator": {"objective": {"name": "future_context", "n": 3, "aggregator": "first_and_last"}},
    }
    study["reference"] = "aggregator"
    (tmp_path / "study.yaml").write_text(dump_yaml(study), encoding="utf-8")
    command(python, "-m", "deepsight", "ablate", "study.yaml", "--out", "out", "--workers", "2", folder=tmp_path)
    trials = load(tmp_path / "out")
    assert trials["status"].tolist() == ["done"] * 4
    assert trials.groupby("arm")["seed"].apply(sorted).to_dict() == {"aggregator": [0, 1], "objective": [0, 1]}
    last = curves(tmp_path / "out").groupby(["arm", "seed"]).last()
    # Two possible answers and little learned yet: about log 2.
    assert last.loc["objective", "recurrence/loss"].between(0.3, 1.0).all()
    assert last.loc["aggregator", "future_context/loss"].notna().all()


@pytest.mark.slow
def test_its_own_tests_pass(python: Path, tmp_path: Path) -> None:
    tests = shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    answer = command(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, folder=tmp_path)
    assert "13 passed" in answer.stdout
