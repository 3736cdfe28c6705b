"""A run that several processes train is the run that one trains, and goes on with any number of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deepsight.errors import DamagedError, UserError
from deepsight.ranks import Ranks
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.folder import RunFolder
from deepsight.training.metrics import read_metrics
from deepsight.training.names import CHECKPOINT_FILE, METRICS_FILE, PROVENANCE_FILE, SHARDS_FILE
from tests.deepsight.training.processes import in_processes
from tests.runs import run_data, run_of, source_of, write_text

pytestmark = pytest.mark.slow

LOSS = 1e-5
"""Absolute, nats per token: float32 sums in another order, over twelve steps."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def train(text: Path, folder: Path, changes: dict[str, Any], stop_at: int | None = None) -> dict[str, Any] | None:
    config = run_of(text, **changes)
    ranks = Ranks.of_this_process()
    trainer = RunFolder(folder).prepare(config, source_of(config), ranks=ranks)
    # One process asks, all stop.
    return trainer.run(lambda: ranks.rank == ranks.size - 1 and trainer.progress.step == stop_at)


def together(count: int, text: Path, folder: Path, changes: dict[str, Any], stop_at: int | None = None) -> Any:
    folder.mkdir(exist_ok=True)
    if count == 1:
        return train(text, folder, changes, stop_at)
    return in_processes(count, train, text, folder, changes, stop_at)[0]


def losses(folder: Path) -> dict[str, list[float]]:
    rows = list(read_metrics(folder / METRICS_FILE))
    return {
        "steps": [row["loss"] for row in rows if row["kind"] == "train"],
        "future": [row["future_context/loss"] for row in rows if row["kind"] == "evaluation"],
        "validation": [row["validation_loss"] for row in rows if row["kind"] == "evaluation"],
        "norms": [row["gradient_norm"] for row in rows if row["kind"] == "train"],
    }


def check_same_run(one: Path, other: Path) -> None:
    expected, found = losses(one), losses(other)
    assert {name: len(values) for name, values in found.items()} == {
        name: len(values) for name, values in expected.items()
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=LOSS), name
    weights = [read_checkpoint(folder / CHECKPOINT_FILE).tensors for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def alone(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    together(1, text, folder, {})
    return folder


@pytest.mark.parametrize(("kind", "count"), [("replicated", 2), ("replicated", 4), ("sharded", 2)])
def test_the_run_is_that_of_one_process(alone: Path, text: Path, tmp_path: Path, kind: str, count: int) -> None:
    together(count, text, tmp_path / "run", {"runtime__parallel": kind})
    check_same_run(alone, tmp_path / "run")
    assert json.loads((tmp_path / "run" / PROVENANCE_FILE).read_text())["processes"] == count
    assert {file.name for file in (tmp_path / "run").iterdir()} == {file.name for file in alone.iterdir()}


@pytest.mark.parametrize(
    ("before", "after"), [(("sharded", 2), ("sharded", 4)), (("sharded", 2), ("one", 1)), (("one", 1), ("sharded", 2))]
)
def test_a_stopped_run_goes_on_with_another_number_of_processes(
    alone: Path, text: Path, tmp_path: Path, before: tuple[str, int], after: tuple[str, int]
) -> None:
    folder = tmp_path / "run"
    for (kind, count), stop_at in ((before, 5), (after, None)):
        changes = {"runtime__parallel": "auto" if kind == "one" else kind}
        result = together(count, text, folder, changes, stop_at)
        assert (result is None) == (stop_at is not None)
        in_shards = stop_at is not None and kind == "sharded"
        assert (folder / SHARDS_FILE).is_file() == in_shards
        assert len(list(folder.glob("checkpoint.shards.0*"))) == in_shards
        assert (folder / CHECKPOINT_FILE).is_file() != in_shards
    check_same_run(alone, folder)


def test_a_task_is_played_by_shards_too(text: Path, tmp_path: Path) -> None:
    changes = {
        "data": {"task": {"name": "path_star", "degree": 2, "length": 3, "labels": 8}},
        "model__context": 24,
        "runtime__parallel": "sharded",
    }
    for count in (1, 2):
        together(count, text, tmp_path / f"{count}", changes)
    one, two = (
        [row for row in read_metrics(tmp_path / f"{count}" / METRICS_FILE) if row["kind"] == "evaluation"]
        for count in (1, 2)
    )
    for expected, found in zip(one, two, strict=True):
        names = [name for name in expected if name.startswith("task:")]
        assert names
        assert [found[name] for name in names] == pytest.approx([expected[name] for name in names])


def test_a_shard_that_is_cut_is_damaged(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    together(2, text, folder, {"runtime__parallel": "sharded"}, 5)
    shard = next(folder.glob("checkpoint.shards.0*/*00001*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DamagedError, match="this checkpoint is damaged"):
        together(1, text, folder, {})
    (folder / SHARDS_FILE).write_text('{"format"')
    with pytest.raises(DamagedError, match="this checkpoint is damaged: it cannot be read"):
        together(1, text, folder, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"training__batch_size": 5},
            r"training.batch_size: a batch of 5 sequences .* among 2 processes; nearest: 4 or 6",
        ),
        ({"runtime__device": "cuda:0"}, "runtime.device: cuda:0 is one device"),
        (
            {"runtime__parallel": "sharded", "runtime__gradients_by_layer": True},
            "runtime.gradients_by_layer: needs whole",
        ),
        ({"runtime__parallel": "sharded", "runtime__probes": ["future"]}, "runtime.probes: need whole weights"),
    ],
)
def test_what_processes_cannot_share_is_refused(text: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    config = run_of(text, **changes)
    with pytest.raises(UserError, match=said):
        RunFolder(tmp_path / "run").prepare(config, source_of(config), ranks=Ranks(0, 2))


def test_the_way_of_sharing_is_no_part_of_a_run(text: Path) -> None:
    one, other = (run_of(text, runtime__parallel=kind).identity("", {}) for kind in ("auto", "sharded"))
    assert one == other
    assert run_data(text)["runtime"].get("parallel") is None
