"""Layers that compute again: the same run, with less kept."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from deepsight.config import RunConfig
from deepsight.saved_memory import most_saved_bytes
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.folder import RunFolder
from deepsight.training.metrics import read_metrics
from deepsight.training.names import CHECKPOINT_FILE, METRICS_FILE
from deepsight.training.recomputing import recompute_layers
from tests.models import random_tokens, small_model
from tests.runs import run_of, source_of, write_text

TIMES = ("seconds", "peak_memory")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("changes", [{}, {"model__dropout": 0.3}, {"training__myopic": True}, {"objective": "none"}])
def test_the_run_is_the_same(text: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    found = []
    for again in (False, True):
        config: RunConfig = run_of(text, runtime__recompute_layers=again, **changes)
        folder = tmp_path / f"{again}"
        RunFolder(folder).prepare(config, source_of(config)).run()
        rows = [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in read_metrics(folder / METRICS_FILE)
        ]
        found.append((rows, read_checkpoint(folder / CHECKPOINT_FILE).tensors))
    assert found[0][0] == found[1][0]
    assert found[0][1].keys() == found[1][1].keys()
    assert all(torch.equal(tensor, found[1][1][name]) for name, tensor in found[0][1].items())


@pytest.mark.parametrize("architecture", ["deepsight", "baseline"])
def test_layers_keep_their_input_alone(architecture: str) -> None:
    kept = []
    for again in (False, True):
        model = small_model(architecture=architecture, layers=[2, 2]).train()
        tokens = random_tokens(model, 3, model.config.context)
        if again:
            recompute_layers(model)
        run = functools.partial(model, tokens, tokens)
        kept.append(most_saved_bytes(run, without=list(model.parameters())))
    assert kept[1] < kept[0] / 3
