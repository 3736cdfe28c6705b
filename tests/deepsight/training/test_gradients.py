"""The record of gradients by layer: what it holds, that it goes on after a stop, and that it moves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deepsight.config import RunConfig
from deepsight.data.batches import Batch
from deepsight.evaluation.gradients import compared, gradients_of, layers_of
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.folder import RunFolder
from deepsight.training.metrics import read_metrics
from deepsight.training.names import CHECKPOINT_FILE, GRADIENTS_FILE, METRICS_FILE
from tests.runs import run_of, source_of, write_text

TIMES = ("seconds", "peak_memory")
OBJECTIVES = [
    {"name": "future_context", "n": 3, "coefficient": {"start": 0.5, "schedule": "off_after", "share": 0.5}},
    {"name": "multi_token", "n": 3, "curriculum": "forward", "window": "extend"},
    {"name": "register_token"},
    {"name": "reverse_model", "freeze_after": 0.5},
    "representation",
]
"""Those that a measurement could move: they draw, follow the steps, keep statistics or a second network."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def train(config: RunConfig, folder: Path, stop_at: int | None = None) -> dict[str, Any] | None:
    trainer = RunFolder(folder).prepare(config, source_of(config))
    return trainer.run(lambda: trainer.progress.step == stop_at)


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in TIMES}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return list(read_metrics(folder / GRADIENTS_FILE))


def test_a_run_is_the_same_run_with_and_without_it(text: Path, tmp_path: Path) -> None:
    configs = {
        on: run_of(text, objective=OBJECTIVES, model__dropout=0.3, runtime__gradients_by_layer=on)
        for on in (False, True)
    }
    assert configs[False].identity("x", {}) == configs[True].identity("x", {})
    results = {on: train(config, tmp_path / str(on)) for on, config in configs.items()}
    assert timeless(results[False] or {}) == timeless(results[True] or {})
    metrics = [[*map(timeless, read_metrics(tmp_path / str(on) / METRICS_FILE))] for on in configs]
    assert metrics[0] == metrics[1]
    weights = [read_checkpoint(tmp_path / str(on) / CHECKPOINT_FILE).tensors for on in configs]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert not (tmp_path / "False" / GRADIENTS_FILE).exists()
    assert rows_of(tmp_path / "True")


def test_there_is_a_row_for_each_evaluation_objective_and_layer(text: Path, tmp_path: Path) -> None:
    falling = {"name": "future_context", "n": 3, "coefficient": {"start": 0.6, "schedule": "linear_decay"}}
    config = run_of(text, objective=[falling, OBJECTIVES[1]], runtime__gradients_by_layer=True)
    trainer = RunFolder(tmp_path).prepare(config, source_of(config))
    assert trainer.run() is not None
    rows = rows_of(tmp_path)
    layers = ["embedding", "encoder layer 1", "bridge", "decoder layer 1", "final norm", "all layers"]
    assert [(row["step"], row["objective"], row["layer"]) for row in rows] == [
        (step, label, layer) for step in (0, 4, 8, 12) for label in ("future_context", "multi_token")
        for layer in layers
    ]  # fmt: skip
    assert {row["step"]: row["tokens"] for row in rows} == {step: step * 64 for step in (0, 4, 8, 12)}
    # The coefficient of the step before; at first that of the first one.
    future = [row for row in rows if row["objective"] == "future_context"]
    found_coefficients = {row["step"]: row["coefficient"] for row in future}
    assert found_coefficients == pytest.approx({0: 0.6, 4: 0.45, 8: 0.25, 12: 0.05})
    # The last rows are what the trained network gives on the first held-out sequences.
    windows = trainer.source.windows(context=16, count=4, later=trainer.objectives.lookahead)
    batch: Batch = next(windows.batches(4))
    found = gradients_of(trainer.model, trainer.objectives, batch, trainer.objectives.coefficients(11 / 12))
    expected = compared(found.objectives["multi_token"], found.next_token, layers_of(trainer.model))
    for row, (_, numbers) in zip(rows[-len(layers) :], expected, strict=True):
        assert {name: row[name] for name in numbers} == numbers


@pytest.mark.parametrize("stop_at", [0, 5, 8])
def test_a_stopped_run_goes_on_with_its_record(text: Path, tmp_path: Path, stop_at: int) -> None:
    config = run_of(text, objective=OBJECTIVES[:2], runtime__gradients_by_layer=True)
    train(config, tmp_path / "undisturbed")
    assert train(config, tmp_path / "stopped", stop_at) is None
    # Rows of steps that the checkpoint does not hold, the last one torn: a killed process leaves such.
    with (tmp_path / "stopped" / GRADIENTS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": stop_at + 1, "layer": "embedding"}) + '\n{"step"')
    assert train(config, tmp_path / "stopped") is not None
    assert rows_of(tmp_path / "stopped") == rows_of(tmp_path / "undisturbed")


def test_a_run_that_begins_anew_begins_its_record_anew(text: Path, tmp_path: Path) -> None:
    config = run_of(text, objective=OBJECTIVES[:1], runtime__gradients_by_layer=True)
    # Killed before the first checkpoint.
    tmp_path.joinpath(GRADIENTS_FILE).write_text('{"step": 0, "layer": "embedding"}\n', encoding="utf-8")
    train(config, tmp_path)
    assert all("share" in row for row in rows_of(tmp_path))


def test_an_objective_that_is_off_has_no_share(text: Path, tmp_path: Path) -> None:
    train(run_of(text, objective=OBJECTIVES[:1], runtime__gradients_by_layer=True), tmp_path)
    shares: dict[int, set[float]] = {}
    for row in rows_of(tmp_path):
        shares.setdefault(row["step"], set()).add(row["share"])
    assert [len(found) > 1 for found in shares.values()] == [True, True, False, False]
    assert shares[8] == shares[12] == {0.0}


def test_a_run_without_objectives_has_nothing_to_record(text: Path, tmp_path: Path) -> None:
    train(run_of(text, objective="none", training__steps=1, runtime__gradients_by_layer=True), tmp_path)
    assert rows_of(tmp_path) == []
