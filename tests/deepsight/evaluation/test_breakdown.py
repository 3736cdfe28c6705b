"""The breakdown of a loss against a loop over windows, positions and documents."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.data.batches import ValidationWindows
from deepsight.evaluation.breakdown import Breakdown
from deepsight.evaluation.losses import evaluate
from deepsight.trace import IGNORED
from deepsight.training.folder import RunFolder
from deepsight.training.names import BREAKDOWN_FILE
from tests.deepsight.evaluation.test_losses import BYTES, future_context
from tests.models import lively, small_model
from tests.runs import run_of, source_of, write_text

END = 7


def evaluated(model: Any, built: Any, windows: ValidationWindows, **options: Any) -> tuple[Any, Any]:
    batch_size = options.pop("batch_size", 3)
    breakdown = Breakdown(windows, batch_size)
    found = evaluate(
        model, built, windows, batch_size=batch_size, token_bytes=BYTES, device=torch.device("cpu"),
        autocast=contextlib.nullcontext(), breakdown=breakdown, **options,
    )  # fmt: skip
    return found, json.loads(json.dumps(breakdown.content()))


@settings(max_examples=12, deadline=None)
@given(
    length=st.integers(14, 90),
    count=st.one_of(st.none(), st.integers(1, 6)),
    batch_size=st.integers(1, 7),
    first=st.integers(0, 11),
    seed=st.integers(0, 1000),
)
def test_it_equals_the_loop(length: int, count: int | None, batch_size: int, first: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(31, size=length, dtype=np.uint16)
    tokens[np.random.default_rng(seed + 1).random(length) < 0.1] = END
    windows = ValidationWindows(tokens, context=12, count=count, end_of_text=END)
    model = lively(small_model()).double().requires_grad_(False)
    found, said = evaluated(model, future_context(model).double(), windows, batch_size=batch_size, first_position=first)
    expected: dict[str, dict[int, list[float]]] = {"position": defaultdict(list), "document": defaultdict(list)}
    for start in windows.starts.tolist():
        inputs = torch.from_numpy(tokens[start : start + 12].astype(np.int64))[None]
        for position, logits in enumerate(model.eval().logits(inputs)[0]):
            if position < first:
                continue
            target = start + position + 1
            nats = float(torch.logsumexp(logits, 0) - logits[int(tokens[target])])
            expected["position"][position].append(nats)
            expected["document"][sum(int(token) == END for token in tokens[:target])].append(nats)
    for kind, losses in expected.items():
        listed = said[f"{kind}s"]
        assert listed[kind] == sorted(losses)
        assert listed["tokens"] == [len(losses[one]) for one in listed[kind]]
        assert listed["nats"] == pytest.approx([sum(losses[one]) for one in listed[kind]], rel=1e-9)
        assert sum(listed["nats"]) / sum(listed["tokens"]) == pytest.approx(found["validation_loss"], rel=1e-9)
    assert said["ahead"] == {}


def test_ignored_targets_do_not_count() -> None:
    tokens = np.arange(13, dtype=np.uint16)
    windows = ValidationWindows(tokens, context=12)
    model = small_model()
    trace = model(*next(windows.batches(1))[:2])
    targets = trace.targets.clone()
    targets[0, 5:] = IGNORED
    breakdown = Breakdown(windows, 1)
    breakdown.add(dataclasses.replace(trace, targets=targets), {}, 0)
    assert breakdown.content()["positions"]["position"] == [0, 1, 2, 3, 4]


def test_cross_entropies_further_ahead_are_told_by_their_distance() -> None:
    tokens = np.arange(25, dtype=np.uint16)
    windows = ValidationWindows(tokens, context=12)
    model = small_model()
    breakdown = Breakdown(windows, 1)
    batches = list(windows.batches(1))
    for batch, (near, far) in enumerate([(1.0, 3.0), (2.0, 5.0)]):
        said = {
            "heads": {"loss": 9.0, "ahead_2": near, "ahead_3": far, "steps_2": 8.0},
            "latent": {"ahead_2": 7.0, "ahead_2_tokens": far, "ahead_2_latent": 1.0},
        }
        tensors = {label: {name: torch.tensor(value) for name, value in parts.items()} for label, parts in said.items()}
        breakdown.add(model(*batches[batch][:2]), tensors, batch)
    assert breakdown.content()["ahead"] == {"heads": {"2": 1.5, "3": 4.0}, "latent": {"2": 4.0}}


def test_a_run_leaves_the_breakdown_of_its_last_evaluation(tmp_path: Path) -> None:
    config = run_of(write_text(tmp_path / "text"), objective={"name": "multi_token", "n": 3})
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    result = run.prepare(config, source_of(config)).run()
    assert result is not None
    said = json.loads((run.path / BREAKDOWN_FILE).read_text(encoding="utf-8"))
    for kind in ("positions", "documents"):
        assert sum(said[kind]["tokens"]) == 8 * 16
        assert sum(said[kind]["nats"]) / (8 * 16) == pytest.approx(result["validation_loss"], rel=1e-5)
    assert said["ahead"]["multi_token"].keys() == {"2", "3"}
    assert sum(said["ahead"]["multi_token"].values()) == pytest.approx(result["multi_token/loss"], rel=1e-5)
