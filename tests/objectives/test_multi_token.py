"""Parallel heads: the loss against a loop, gradients and memory through the real training step, special cases."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.objective_specs import resolved_objectives
from deepsight.objectives_of_run import Objectives
from deepsight.trace import IGNORED, Shape, Trace
from deepsight.training.loop import Trainer
from deepsight.training.step import accumulate_gradients
from objectives.multi_token import MultiToken
from tests.memory import peak_bytes
from tests.models import ARCHITECTURES, random_tokens, small_model
from tests.runs import run_of, source_of, write_text
from tests.windows import following, random_states, random_text, window_of


def naive(text: Tensor, trace: Trace, n: int, stride: int, hidden: list[Tensor]) -> float:
    """Σ over heads of the mean over positions of -log softmax(U h)[x], number by number."""
    total = 0.0
    for i in range(2, n + 1):
        losses, ahead = [], 1 + stride * (i - 1)
        for row, t in itertools.product(*map(range, trace.tokens.shape)):
            for _, token in following(text, trace, row, t, ahead, ahead):
                logits = trace.unembedding @ hidden[i - 2][row, t]
                losses.append((logits.exp().sum().log() - logits[token]).item())
        total += sum(losses) / len(losses) if losses else 0.0
    return total


@given(
    n=st.integers(1, 5),
    stride=st.integers(1, 3),
    time=st.integers(1, 9),
    extend=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_loss_is_the_loops(n: int, stride: int, time: int, extend: bool, seed: int) -> None:
    shape = Shape(vocabulary=5, width=4, context=20, heads=2)
    part = MultiToken(shape, n=n, stride=stride, head="linear", window="extend" if extend else "trim").double()
    text = random_text(2, time + 1 + part.lookahead, 5, seed)
    states = random_states(2, time, 4, seed=seed)
    trace = window_of(text, time, states, random_states(5, 4, seed=seed + 1))
    trace.targets[0, :-1:3] = IGNORED
    hidden = [states @ head.map.weight.T for head in part.heads]  # type: ignore[union-attr,operator]
    assert part.lookahead == (stride * (n - 1) if extend else 0)
    assert part(trace)["loss"].item() == pytest.approx(naive(text, trace, n, stride, hidden), rel=1e-10, abs=1e-12)


def modules(architecture: str, specs: Any, **shape: Any) -> tuple[Architecture, Objectives]:
    model = small_model(architecture, dtype=torch.float64, **shape)
    return model, Objectives(resolved_objectives(specs), model.shape, seed=0).double()


def gradients(*parts: nn.Module) -> dict[str, Tensor]:
    named = {f"{i}.{name}": weight.grad for i, part in enumerate(parts) for name, weight in part.named_parameters()}
    return {name: gradient for name, gradient in named.items() if gradient is not None}


def naive_sum(model: Architecture, objectives: Objectives, inputs: Tensor, targets: Tensor, coefficient: float) -> None:
    """Differentiate next-token loss + coefficient · Σ head losses at once, all logits held."""
    trace = model(inputs, targets)

    def loss(states: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy((states @ trace.unembedding.T).flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)

    total = loss(trace.decoder_output, targets)
    for i, head in enumerate(objectives.parts["multi_token"].heads, start=1):  # type: ignore[arg-type]
        total = total + coefficient * loss(head(trace.decoder_output[:, :-i]), targets[:, i:])
    total.backward()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("head", ["linear", "block"])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_gradient_is_that_of_the_sum_in_one_graph(architecture: str, head: str, n: int) -> None:
    tokens = random_tokens(small_model(), 3, 13)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].clone()
    targets[0, :4] = IGNORED
    spec = {"name": "multi_token", "n": n, "head": head, "coefficient": 0.7}
    stepped, summed = (modules(architecture, spec) for _ in range(2))
    accumulate_gradients(*stepped, inputs, targets, seed=0, step=0)
    naive_sum(*summed, inputs, targets, 0.7)
    found, expected = gradients(*stepped), gradients(*summed)
    assert (
        found.keys() == expected.keys() == {f"{i}.{k}" for i, m in enumerate(stepped) for k, _ in m.named_parameters()}
    )
    for name, gradient in expected.items():
        assert_close(found[name], gradient, rtol=1e-12, atol=1e-14, msg=name)


def test_memory_does_not_grow_with_the_heads() -> None:
    vocabulary, rows = 3000, 4 * 64
    logits = 4 * rows * vocabulary
    stepped, held = {}, {}
    for n in (2, 4, 8):
        model = small_model("baseline", vocabulary=vocabulary, context=64)
        objectives = Objectives(resolved_objectives({"name": "multi_token", "n": n}), model.shape, seed=0)
        tokens = random_tokens(model, 4, 65)
        inputs, targets = tokens[:, :-1].clone(), tokens[:, 1:].clone()

        def step() -> None:
            accumulate_gradients(model, objectives, inputs, targets, seed=0, step=0)  # noqa: B023 - called in this turn

        def sum_up() -> None:
            naive_sum(model, objectives, inputs, targets, 1.0)  # noqa: B023

        step()  # from here on every parameter has room for its gradient
        stepped[n], held[n] = peak_bytes(step), peak_bytes(sum_up)
    assert stepped[8] < 1.02 * stepped[2]
    assert stepped[8] < 1.5 * logits
    # The naive sum holds one more matrix of logits for each head; the last positions have no target.
    assert held[4] - held[2] > 1.9 * logits
    assert held[8] - held[4] > 3.8 * logits


@pytest.mark.parametrize("spec", [{"n": 1}, {"n": 4, "coefficient": 0.0}, {"n": 1, "head": "linear", "stride": 3}])
def test_one_head_or_no_weight_is_next_token_prediction_exactly(spec: dict[str, Any]) -> None:
    tokens = random_tokens(small_model(), 3, 13)
    inputs, targets = tokens[:, :-1].clone(), tokens[:, 1:].clone()
    with_it, without = modules("deepsight", {"name": "multi_token", **spec}), modules("deepsight", "none")
    metrics = accumulate_gradients(*with_it, inputs, targets, seed=0, step=0)
    alone = accumulate_gradients(*without, inputs, targets, seed=0, step=0)
    assert torch.equal(metrics["next_token"], alone["next_token"])
    assert metrics.get("multi_token/loss", torch.zeros(())).item() == 0.0
    found = gradients(with_it[0])
    assert all(torch.equal(found[name], gradient) for name, gradient in gradients(without[0]).items())
    assert not gradients(with_it[1])


def test_with_one_head_more_its_loss_is_the_loss() -> None:
    model, objectives = modules("baseline", {"name": "multi_token", "n": 2})
    tokens = random_tokens(model, 2, 13)
    metrics = accumulate_gradients(model, objectives, tokens[:, :-1], tokens[:, 1:].clone(), seed=0, step=0)
    assert metrics["multi_token/loss"] == metrics["multi_token/ahead_2"]


def test_attached_below_the_last_layer_head_one_is_the_networks_last_block() -> None:
    """As published: n blocks side by side on the trunk, of which the next token's is the network's own."""
    model, objectives = modules("baseline", {"name": "multi_token", "n": 2, "attach": {"layer": 3}}, layers=4)
    (head,) = objectives.parts["multi_token"].heads  # type: ignore[misc]
    blocks: Any = model
    head.block.load_state_dict(blocks.blocks[-1].state_dict())
    tokens = random_tokens(model, 2, 12)
    trace = model(tokens, tokens)
    assert_close(head(trace.layers[2]), trace.decoder_output, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("curriculum", "expected"),
    [
        ("none", [4, 4, 4, 4, 4, 4, 4]),
        ("forward", [1, 1, 2, 3, 3, 4, 4]),
        ("reverse", [4, 4, 3, 2, 2, 1, 1]),
    ],
)
def test_the_curriculum_is_the_papers(curriculum: Any, expected: list[int]) -> None:
    part = MultiToken(Shape(5, 4, 20, 2), n=4, curriculum=curriculum)
    found = []
    for share in (0.0, 0.24, 0.25, 0.5, 0.74, 0.75, 0.999):
        part.progress(share)
        found.append(part.heads_in_training())
    assert found == expected


@pytest.mark.parametrize("curriculum", ["forward", "reverse"])
def test_stages_are_as_long_as_the_papers_whatever_the_rounding(curriculum: Any) -> None:
    steps, n = 88, 22  # 60 / 88 · 22 is 14.999… in floating point
    part = MultiToken(Shape(5, 4, 30, 2), n=n, curriculum=curriculum)
    for step in range(steps):
        part.progress(step / steps)
        stage = step // (steps // n)
        assert part.heads_in_training() == (stage + 1 if curriculum == "forward" else n - stage)


def test_a_run_goes_through_the_curriculum_and_evaluates_every_head(tmp_path: Path) -> None:
    spec = {"name": "multi_token", "n": 3, "head": "linear", "curriculum": "forward"}
    config = run_of(write_text(tmp_path / "text"), objective=spec, training__steps=6, runtime__log_every=1)
    rows: list[dict[str, Any]] = []
    Trainer(config, source_of(config), tmp_path / "run", rows.append).run()
    trained = [[key for key in row if key.startswith("multi_token/ahead")] for row in rows if row["kind"] == "train"]
    first, second = "multi_token/ahead_2", "multi_token/ahead_3"
    assert trained == [[], [], [first], [first], [first, second], [first, second]]
    evaluated = [row["multi_token/loss"] for row in rows if row["kind"] == "evaluation"]
    assert evaluated[0] == pytest.approx(2 * 5.55, abs=0.1)  # both heads, near log 257 at the start
    assert len(evaluated) == 3


def test_heads_without_a_target_are_named() -> None:
    with pytest.raises(UserError, match=r"^n: 5 heads look 9 tokens ahead: too far for a context of 8$"):
        MultiToken(Shape(5, 4, 8, 2), n=5, stride=2)
    assert len(MultiToken(Shape(5, 4, 8, 2), n=5, stride=2, window="extend").heads) == 4
