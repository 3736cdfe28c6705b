"""`deepsight ablate` as a person types it: a study run, and all that can be asked of its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablations.attempts import Ending, record_end, record_start
from ablations.stored import read_plan, trial_folder
from tests.ablations.studies import study_data, write_study
from tests.runs import write_text

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, a study that uses what a study can say, and room for its runs."""
    home = tmp_path_factory.mktemp("home")
    data = study_data(write_text(home / "text", documents=8), seeds=3)
    data |= {
        "groups": {"merges": {"factors": {"objective.merge": ["equal", "future_only"]}}},
        "tune": {"training.learning_rate": [1e-2, 1e-3]},
        "control": True,
    }
    data["arms"]["baseline"] = {"model": {"architecture": "baseline", "match": "parameters"}, "objective": "none"}
    write_study(home / "study.yaml", data)
    return home


@pytest.fixture
def ran(home: Path, command_line: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, once the study has run."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "200")
    if not (home / "runs" / "small").is_dir():
        answer = command_line("ablate", "study.yaml", "--workers", "2")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "The report is at runs/small/report/index.html" in answer.stdout
    return home


def test_dry_run_prints_all_of_the_plan_and_writes_nothing(
    home: Path, command_line: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    answer = command_line("ablate", str(home / "study.yaml"), "--dry-run")
    assert answer.returncode == 0, answer.stderr
    for said in ("A/A control", "merges", "solved to match", "training.learning_rate", "shares its trials", "MB each"):
        assert said in answer.stdout, said
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_everything_runs(ran: Path) -> None:
    study = read_plan(ran / "runs" / "small")
    control = study.arm("A/A control")
    assert control.control
    assert all(len(arm.trials) == 3 for arm in study.arms)
    assert all(sum(one.chosen for one in arm.candidates) == 1 for arm in study.arms if not arm.control)
    page = (ran / "runs" / "small" / "report" / "index.html").read_text(encoding="utf-8")
    assert "bit-equal to the reference in all 3 seeds" in page


def test_a_study_runs_on_another_preset_in_a_folder_called_after_both(
    home: Path, command_line: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = study_data(home / "text", seeds=1)
    base = data.pop("base")
    text = {**base.pop("data"), "validation_fraction": 0.3}
    data |= {"base": {"preset": "deepsight-paper", "data": text}, "scales": {"tiny": {"base": base}}}
    write_study(tmp_path / "study.yaml", data)
    monkeypatch.chdir(tmp_path)
    answer = command_line("ablate", "study.yaml", "--preset", "tiny", "--workers", "2")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    study = read_plan(Path("runs/small-tiny"))
    assert (study.name, study.base["model"]["width"]) == ("small-tiny", 16)
    assert study.command == "deepsight ablate study.yaml --preset tiny --out runs/small-tiny"
    # As the words after --export have it: what the folder holds is enough to go on.
    again = command_line("ablate", "runs/small-tiny/study.yaml", "--out", "runs/small-tiny", "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "2 of them done" in again.stdout


def test_status_is_read_from_the_files(ran: Path, command_line: Command) -> None:
    answer = command_line("ablate", "--status", "runs/small", "--watch")
    assert answer.returncode == 0
    assert "trials," in answer.stdout
    assert "running" not in answer.stdout


def test_plan_says_seeds_and_hours(ran: Path, command_line: Command) -> None:
    answer = command_line("ablate", "study.yaml", "--plan", "0.01")
    assert answer.returncode == 0, answer.stderr
    assert "for a difference of 0.01" in answer.stdout.lower()
    assert "seeds" in answer.stdout


def test_verify_runs_trials_again(ran: Path, command_line: Command) -> None:
    answer = command_line("ablate", "study.yaml", "--verify", "2")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count("the same to the last bit") == 2
    assert not (ran / "runs" / "small" / "verification").exists()


def test_export_and_waste(ran: Path, command_line: Command, tmp_path: Path) -> None:
    answer = command_line("ablate", "--export", "runs/small", "--out", str(tmp_path / "small.tar.gz"))
    assert answer.returncode == 0
    assert (tmp_path / "small.tar.gz").stat().st_size > 10_000
    assert "there is nothing to remove" in command_line("ablate", "--gc", "runs/small").stdout
    stale = trial_folder(ran / "runs" / "small", "0" * 64)
    stale.mkdir()
    assert "nothing was removed, --yes removes it" in command_line("ablate", "--gc", "runs/small").stdout
    assert stale.is_dir()
    assert command_line("ablate", "--gc", "runs/small", "--yes").returncode == 0
    assert not stale.exists()


def test_a_changed_study_says_what_is_reused_and_a_failed_trial_waits_for_retry(
    ran: Path, command_line: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    shutil.copytree(ran / "runs" / "small", folder)
    study = read_plan(folder)
    lost = trial_folder(folder, study.arm("plain").trials[1])
    (lost / "result.json").unlink()
    record_start(lost, "driver", None)
    record_end(lost, Ending.CRASHED, "why")
    answer = command_line("ablate", "--status", str(folder))
    assert answer.returncode == 1
    assert "failed: plain (seed 1, 2 attempts): crashed: why" in answer.stdout
    again = ["ablate", "study.yaml", "--out", str(folder)]
    answer = command_line(*again)
    assert answer.returncode == 1
    assert "Failed: 1 crashed. --retry failed runs these trials again" in answer.stdout
    answer = command_line(*again, "--retry", "failed")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 failed trials run again" in answer.stdout
    changed = (ran / "study.yaml").read_text(encoding="utf-8").replace("steps: 12", "steps: 13")
    (tmp_path / "study.yaml").write_text(changed, encoding="utf-8")
    answer = command_line("ablate", str(tmp_path / "study.yaml"), "--out", str(folder), "--dry-run")
    assert "The study has changed since this folder was last used: base.training.steps is 13" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--status", "gone"), "gone: there is no study here"),
        (("--gc", "gone"), "gone: there is no study here"),
        (("--export", "gone"), "gone: there is no study here"),
        (("study.yaml", "--plan", "0"), "difference"),
        (("study.yaml", "--executor-option", "loops=3"), "--executor-option belongs to --executor ray or slurm"),
        (("study.yaml", "--executor-option", "loops"), "--executor-option loops: write it as key=value"),
    ],
)
def test_bad_input_is_one_sentence(ran: Path, command_line: Command, arguments: tuple[str, ...], said: str) -> None:
    answer = command_line("ablate", *arguments)
    assert answer.returncode == 2, answer.stdout
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
