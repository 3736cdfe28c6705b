"""`future_context` with the window past its end: every position counts, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.building import build_model, build_objectives
from deepsight.config import run_config
from deepsight.data.batches import Batches, ValidationWindows
from deepsight.errors import UserError
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Shape, Trace
from deepsight.training.step import accumulate_gradients
from objectives.future_context import FutureContext
from tests.models import lively, random_tokens, small_model
from tests.runs import run_data

EXACT = {"atol": 1e-10, "rtol": 1e-10}
CONTEXT = 12


def model_of(architecture: str | dict[str, Any] = "deepsight", positions: str = "rotary") -> Architecture:
    return lively(small_model(architecture, positions=positions, dtype=torch.float64, context=CONTEXT))


def objective(model: Architecture, **parameters: Any) -> FutureContext:
    spec = {"name": "future_context", "norm_affine": False, **parameters}
    built: Any = objectives.build(spec, shape=model.shape).double()
    return built


def trace_of(model: Architecture, text: torch.Tensor, later: int) -> Trace:
    """Run the model on the first CONTEXT tokens of a text; `later` tokens lie beside them, as batches give them."""
    trace = model(text[:, :CONTEXT], text[:, 1 : CONTEXT + 1])
    after = text[:, CONTEXT + 1 : CONTEXT + 1 + later]
    after = F.pad(after, (0, later - after.shape[1]), value=IGNORED)
    return Trace(**{**vars(trace), "state": trace.encoder_output, "later": after if later else None})


@torch.no_grad()
def naive_loss(model: Architecture, trace: Trace, text: torch.Tensor, n: int) -> float:
    """1/(B T C) Σ (norm(H_i) - norm((mean E_1…E_i + Σₖ E_{i+k} / k) / 2))², loop by loop; ended text adds nothing."""
    table, begin = model.embedding.token.weight, CONTEXT - trace.tokens.shape[1]

    def normed(vector: torch.Tensor) -> torch.Tensor:
        return (vector - vector.mean()) / (vector.var(unbiased=False) + 1e-5).sqrt()

    total, count = 0.0, 0
    for row in range(text.shape[0]):
        vectors = [table[int(token)] for token in text[row, begin:]]
        for i in range(trace.tokens.shape[1]):
            present = torch.stack(vectors[: i + 1]).mean(dim=0)
            future = torch.zeros_like(present)
            for k in range(1, n + 1):
                if i + k < len(vectors):
                    future = future + vectors[i + k] / k
            difference = normed(trace.encoder_output[row, i]) - normed((present + future) / 2)
            total += float((difference**2).sum())
            count += len(present)
    return total / count


@settings(max_examples=20)
@given(n=st.integers(1, 2 * CONTEXT), missing=st.integers(0, 30), target=st.sampled_from(["input", "token"]))
def test_every_position_counts(n: int, missing: int, target: str) -> None:
    """A horizon may be longer than the context; `missing` tokens past the window do not exist."""
    model = model_of()
    built = objective(model, n=n, window="extend", target=f"{target}_embeddings")
    assert built.lookahead == n - 1
    text = random_tokens(model, 2, CONTEXT + 1 + max(0, n - 1 - missing))
    trace = trace_of(model, text, built.lookahead)
    prediction, side = built.sides(trace)
    assert prediction.shape == side.shape == (2, CONTEXT, 16)
    assert built(trace)["loss"].item() == pytest.approx(naive_loss(model, trace, text, n), rel=1e-9)


@pytest.mark.parametrize("architecture", ["deepsight", "baseline", {"name": "canonical", "prefix": 5}], ids=str)
def test_it_counts_every_position_of_every_architecture(architecture: str | dict[str, Any]) -> None:
    model = model_of(architecture)
    built = objective(model, n=4, window="extend")
    text = random_tokens(model, 2, CONTEXT + 4)
    trace = trace_of(model, text, built.lookahead)
    assert built.sides(trace)[0].shape[1] == model.shape.context
    assert built(trace)["loss"].item() == pytest.approx(naive_loss(model, trace, text, 4), rel=1e-9)


@pytest.mark.parametrize("target", ["input_embeddings", "token_embeddings", {"name": "bag_of_words"}], ids=str)
@pytest.mark.parametrize("aggregator", ["decay", "average", "normalized_decay"])
@pytest.mark.parametrize("norm", ["both", "none"])
@pytest.mark.parametrize("n", [1, 3, CONTEXT - 1])
def test_positions_that_trim_has_are_the_same(target: Any, aggregator: str, norm: str, n: int) -> None:
    model = model_of()
    shared: dict[str, Any] = {"n": n, "target": target, "aggregator": aggregator, "norm": norm}
    if isinstance(target, dict):
        shared["predictor"] = "linear"
    trim, extend = (objective(model, window=window, **shared) for window in ("trim", "extend"))
    extend.load_state_dict(trim.state_dict())
    text = random_tokens(model, 2, CONTEXT + n)
    short, long = trim.sides(trace_of(model, text, 0)), extend.sides(trace_of(model, text, n - 1))
    for left, right in zip(short, long, strict=True):
        assert left.shape[1] == CONTEXT - n
        assert right.shape[1] == CONTEXT
        assert_close(right[:, : CONTEXT - n], left, **EXACT)


def test_without_the_tokens_past_the_window_it_counts_what_it_can() -> None:
    """A trace that nobody gave later tokens, as in diagnostics: one more position than trim has."""
    model = model_of()
    text = random_tokens(model, 2, CONTEXT + 1)
    built = objective(model, n=4, window="extend")
    trace = trace_of(model, text, 0)
    assert built.sides(trace)[0].shape[1] == CONTEXT - 4 + 1
    assert torch.isfinite(built(trace)["loss"])


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_target_with_positions_needs_rotary_ones(positions: str) -> None:
    model = model_of(positions=positions)
    assert model.shape.positions == positions
    objective(model, window="trim")
    objective(model, window="extend", target="token_embeddings")
    if positions == "rotary":
        objective(model, window="extend")
        return
    said = (
        r"^window: the target 'input_embeddings' has no vectors of tokens past the window of a model with learned "
        r"positions: choose trim, or the target token_embeddings$"
    )
    with pytest.raises(UserError, match=said):
        objective(model, window="extend")


def test_the_refusal_names_its_place_in_the_run() -> None:
    config = run_config(run_data(Path("unread"), objective={"name": "future_context", "n": 3, "window": "extend"}))
    with pytest.raises(UserError, match=r"^objective\.0\.window: the target 'input_embeddings' has no vectors"):
        build_objectives(config, build_model(config, "meta").shape, "meta")


def test_a_shape_of_its_own_has_learned_positions() -> None:
    with pytest.raises(UserError, match="learned positions"):
        FutureContext(Shape(vocabulary=5, width=6, context=12, heads=1), window="extend")


def run_losses(later: int) -> tuple[list[float], list[list[int]]]:
    """Train two steps on batches with `later` tokens beside them; return next-token losses and what was read."""
    model = small_model(context=CONTEXT, positions="rotary")
    built = Objectives([], model.shape, 0)
    text = np.random.default_rng(0).integers(31, size=300, dtype=np.uint16)
    batches = Batches(text, context=CONTEXT, batch_size=3, seed=4, later=later)
    losses, read = [], []
    for step in range(2):
        inputs, targets, after = batches(step)
        metrics = accumulate_gradients(model, built, inputs, targets, after, seed=0, step=step)
        losses.append(metrics["next_token"].item())
        read += inputs.tolist()
    return losses, read


def test_the_network_reads_no_token_more() -> None:
    assert run_losses(0) == run_losses(9)


def test_validation_windows_at_the_end_of_the_split_are_handled() -> None:
    """The last window has one target past it and nothing more."""
    model = model_of()
    built = Objectives(
        [{"coefficient": 1.0, **objectives.resolve({"name": "future_context", "n": 5, "window": "extend"})}],
        model.shape,
        0,
    ).double()
    text = np.random.default_rng(0).integers(31, size=3 * CONTEXT + 1, dtype=np.uint16)
    windows = ValidationWindows(text, context=CONTEXT, later=built.lookahead)
    *_, last = windows.batches(1)
    assert last.later is not None
    assert last.later.tolist() == [[IGNORED] * 4]
    trace = Trace(**{**vars(model(last.inputs, last.targets)), "later": last.later})
    found = built.losses(trace, 0, 0)["future_context"]["loss"]
    whole = torch.from_numpy(text[None, 2 * CONTEXT :].astype(np.int64))
    expected = naive_loss(model, trace, whole, 5)
    assert found.item() == pytest.approx(expected, rel=1e-9)
