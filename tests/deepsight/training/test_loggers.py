"""Who is told of a run's rows, and that no one of them can end a run."""

from __future__ import annotations

import sqlite3
import warnings
from pathlib import Path
from typing import Any

import pytest

from deepsight.config import RuntimeConfig
from deepsight.plug_ins import loggers
from deepsight.training.folder import RunFolder
from deepsight.training.loggers import numbers_of
from deepsight.training.metrics import read_metrics
from deepsight.training.names import METRICS_FILE
from deepsight.validation import validated
from tests.runs import run_of, source_of, write_text

TOLD: list[dict[str, Any]] = []


class Remembering:
    """Keeps what it is told, and fails where it is asked to."""

    def __init__(self, folder: Path, about: dict[str, Any], fails_at: int = -1) -> None:
        self.folder, self.about, self.fails_at = folder, about, fails_at
        self.closed = False

    def log(self, row: dict[str, Any]) -> None:
        if row["step"] == self.fails_at:
            raise ConnectionError("nobody answers")
        TOLD.append(row)

    def close(self) -> None:
        TOLD.append({"kind": "closed"})


@pytest.fixture(autouse=True)
def remembering(monkeypatch: pytest.MonkeyPatch) -> None:
    TOLD.clear()
    if "remembering" not in loggers:
        loggers.register("remembering")(Remembering)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text")


def trained(text: Path, folder: Path, *specs: Any) -> list[dict[str, Any]]:
    config = run_of(text, runtime__loggers=list(specs))
    RunFolder(folder).prepare(config, source_of(config)).run()
    return list(read_metrics(folder / METRICS_FILE))


def test_a_logger_is_told_of_every_row_and_closed(text: Path, tmp_path: Path) -> None:
    rows = trained(text, tmp_path / "run", "remembering")
    assert [*rows, {"kind": "closed"}] == TOLD


def test_one_that_fails_is_named_once_and_the_run_goes_on(text: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"runtime\.loggers\.0: remembering fails .* nobody answers") as warned:
        rows = trained(text, tmp_path / "run", {"name": "remembering", "fails_at": 4})
    assert len(warned) == 1
    assert rows[-1]["step"] == 12
    assert max(row["step"] for row in TOLD) < 4


def test_tensorboard_gets_every_number(text: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = trained(text, tmp_path / "run", "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    written = [(event.step, event.value) for event in events.Scalars("evaluation/validation_loss")]
    wanted = [row for row in rows if row["kind"] == "evaluation"]
    assert written == [(row["step"], pytest.approx(row["validation_loss"], rel=1e-6)) for row in wanted]


def test_wandb_keeps_a_run_in_its_folder_when_offline(text: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason='needs wandb: pip install "deepsight[wandb]"')
    trained(text, tmp_path / "run", {"name": "wandb", "mode": "offline"})
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert list(kept.glob("*.wandb"))


def test_trackio_keeps_every_number(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason='needs trackio: pip install "deepsight[trackio]"')
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    rows = trained(text, tmp_path / "run", {"name": "trackio", "project": "a-test"})
    stored = list(Path(tmp_path / "store").rglob("*.db"))
    assert stored
    with sqlite3.connect(stored[0]) as store:
        (count,) = store.execute("select count(*) from metrics").fetchone()
    assert count == len(rows)


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_what_is_not_installed_is_said_before_anything_is_written(
    command_line: Any, text: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepsight.building.find_spec", lambda package: None)
    out = tmp_path / "runs" / "run"
    answer = command_line("train", "tiny", "--set", f"runtime.loggers=[{name}]", "--out", out)
    assert answer.returncode == 2
    assert f"runtime.loggers.0: {name} is not installed; pip install" in answer.stderr
    assert not out.exists()


def test_numbers_are_named_by_kind() -> None:
    row = {"kind": "train", "step": 3, "tokens": 9, "seconds": 0.5, "loss": 2.0}
    assert numbers_of(row) == {"train/seconds": 0.5, "train/loss": 2.0}


@pytest.mark.parametrize(("wanted", "meant"), [(True, ["tensorboard"]), (False, [])])
def test_what_earlier_versions_wrote_is_still_read(wanted: bool, meant: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [spec["name"] for spec in validated(RuntimeConfig, {"tensorboard": wanted}).loggers] == meant
