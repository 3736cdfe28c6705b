import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deepsight.config import RunConfig
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.folder import RunFolder
from deepsight.training.loop import DivergedError
from deepsight.training.metrics import MetricsFile, read_metrics
from deepsight.training.names import CHECKPOINT_FILE, METRICS_FILE
from tests.runs import run_of, source_of, write_text

TIMES = ("seconds", "peak_memory")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def train(config: RunConfig, folder: Path, stop_at: int | None = None) -> dict[str, Any] | None:
    trainer = RunFolder(folder).prepare(config, source_of(config))
    return trainer.run(lambda: trainer.progress.step == stop_at)


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in TIMES}


def test_a_run_learns_and_records_what_it_did(text: Path, tmp_path: Path) -> None:
    result = train(run_of(text, training__steps=40), tmp_path / "run")
    assert result is not None
    rows = list(read_metrics(tmp_path / "run" / METRICS_FILE))
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    assert [row["step"] for row in evaluations] == list(range(0, 41, 4))
    assert evaluations[0]["train_loss"] is None
    assert abs(evaluations[0]["validation_loss"] - 5.55) < 0.05  # ln 257: nothing known yet
    assert result["validation_loss"] == evaluations[-1]["validation_loss"] < 3.2
    assert [row["step"] for row in rows if row["kind"] == "train"] == list(range(2, 41, 2))
    assert result["tokens"] == 40 * 4 * 16
    for name in ("loss", "prediction_gain", "target_gain", "prediction_variance", "target_effective_rank"):
        assert f"future_context/{name}" in evaluations[0]
    assert evaluations[0]["future_context/prediction_gain"] == 1.0
    # Every byte is a token, and no window holds an end of text: bits per byte are nats per token over ln 2.
    assert 0.9 < result["bits_per_byte"] * 0.6931471805599453 / result["validation_loss"] < 1.1
    assert not list((tmp_path / "run").glob(".*.tmp"))


@pytest.mark.parametrize("stop_at", [1, 5, 8, 11])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(text: Path, tmp_path: Path, stop_at: int, dropout: float) -> None:
    config = run_of(text, model__dropout=dropout)
    undisturbed = train(config, tmp_path / "undisturbed")
    assert train(config, tmp_path / "stopped", stop_at) is None
    # Rows of steps that the checkpoint does not hold, the last one torn: a killed process leaves such.
    with (tmp_path / "stopped" / METRICS_FILE).open("a", encoding="utf-8") as metrics:
        metrics.write(json.dumps({"kind": "train", "step": stop_at + 1, "loss": 1.0}) + '\n{"kind": "ev')
    resumed = train(config, tmp_path / "stopped")
    assert undisturbed is not None
    assert resumed is not None
    assert timeless(resumed) == timeless(undisturbed)
    both = [map(timeless, read_metrics(tmp_path / name / METRICS_FILE)) for name in ("undisturbed", "stopped")]
    assert list(both[0]) == list(both[1])
    weights = [read_checkpoint(tmp_path / name / CHECKPOINT_FILE).tensors for name in ("undisturbed", "stopped")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_finished_run_drops_the_optimizer_and_is_not_trained_again(text: Path, tmp_path: Path) -> None:
    config = run_of(text, training__steps=2)
    assert train(config, tmp_path, stop_at=1) is None
    assert read_checkpoint(tmp_path / CHECKPOINT_FILE).part("optimizer")
    first = train(config, tmp_path)
    assert not read_checkpoint(tmp_path / CHECKPOINT_FILE).part("optimizer")
    (tmp_path / "result.json").unlink()
    again = train(config, tmp_path)
    assert again is not None
    assert first is not None
    assert timeless(again) == timeless(first)


def test_seeds_differ_and_repeat(text: Path, tmp_path: Path) -> None:
    results = [train(run_of(text, seed=seed), tmp_path / str(run)) for run, seed in enumerate((0, 0, 1))]
    losses = [result["validation_loss"] for result in results if result is not None]
    assert losses[0] == losses[1] != losses[2]


def test_arms_of_one_seed_share_batches_and_common_weights(text: Path, tmp_path: Path) -> None:
    plain = train(run_of(text, objective="none"), tmp_path / "plain")
    other = train(run_of(text), tmp_path / "other")
    assert plain is not None
    assert other is not None
    assert plain["batch_digest"] == other["batch_digest"]
    first, second = (json.loads((tmp_path / name / "initial_weights.json").read_text()) for name in ("plain", "other"))
    assert first
    assert first.items() <= second.items()


def test_a_loss_that_is_not_finite_ends_the_run(text: Path, tmp_path: Path) -> None:
    config = run_of(text, training__learning_rate=1e30, training__gradient_clip=None, training__warmup_steps=0)
    with pytest.raises(DivergedError, match=r"not finite (by|at) step"):
        train(config, tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_micro_batches_change_the_result_by_rounding_only(text: Path, tmp_path: Path) -> None:
    whole = train(run_of(text), tmp_path / "whole")
    parts = train(run_of(text, runtime__micro_batch_size=1), tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    assert whole["validation_loss"] == pytest.approx(parts["validation_loss"], abs=2e-4)


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / METRICS_FILE
    file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step"', encoding="utf-8")
    metrics = MetricsFile(file, 2)
    metrics.append({"step": 4})
    metrics.close()
    assert [row["step"] for row in read_metrics(file)] == [1, 2, 4]


def test_a_folder_refuses_another_run_and_names_the_key(text: Path, tmp_path: Path) -> None:
    train(run_of(text, training__steps=1), tmp_path)
    with pytest.raises(ValueError, match=r"holds another run: training\.steps is 1 there and 2 here"):
        RunFolder(tmp_path).check(run_of(text, training__steps=2))
    RunFolder(tmp_path).check(run_of(text, training__steps=1, runtime__log_every=5))
