"""Costs against closed forms written by hand, and the memory estimate against what a real step allocates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig, run_config
from deepsight.counting import cost_of, parameter_count
from deepsight.objective import Preparation
from deepsight.saved_memory import most_saved_bytes
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients
from objectives.aggregation import BLOCK
from tests.memory import peak_bytes
from tests.runs import run_data

WIDTH, CONTEXT, VOCABULARY = 24, 40, 257
PAIRS = 2 * CONTEXT * WIDTH
"""Multiplications of one position's attention: its dot products with all keys, and the weighted sum of all values."""


def run_of(**changes: Any) -> RunConfig:
    shape = {"model__width": WIDTH, "model__context": CONTEXT, "model__heads": 3, "model__layers": [2, 3]}
    return run_config(run_data(Path("unread"), **(shape | {"objective": "none"} | changes)))


def weights_of(architecture: str) -> int:
    """Return the multiplications of one token by weight matrices, unembedding included."""
    block, cross, unembedding = 12 * WIDTH**2, 4 * WIDTH**2, VOCABULARY * WIDTH
    if architecture == "baseline":
        return 5 * block + unembedding
    return 5 * block + 3 * cross + WIDTH**2 + unembedding


@pytest.mark.parametrize(("architecture", "attentions"), [("deepsight", 8), ("baseline", 5)])
def test_flops_by_hand(architecture: str, attentions: int) -> None:
    cost = cost_of(run_of(model__architecture=architecture))
    weights, pairs = weights_of(architecture), attentions * PAIRS
    assert cost.inference_flops_per_token == 2 * (weights + pairs)
    # Backward: each product has two gradients; attention computes its dot products once more beside four others.
    assert cost.training_flops_per_token == 2 * (3 * weights + pairs + pairs * 5 / 2)


def test_an_objective_adds_its_flops_to_training_alone() -> None:
    n = 7
    plain, with_objective = cost_of(run_of()), cost_of(run_of(objective={"name": "future_context", "n": n}))
    assert with_objective.inference_flops_per_token == plain.inference_flops_per_token
    # One block of rows covers the context; the target is detached, so nothing goes backward through it.
    whole = 2 * BLOCK * (BLOCK + n - 1) * WIDTH
    more = with_objective.training_flops_per_token - plain.training_flops_per_token
    assert more == pytest.approx(whole / CONTEXT, abs=1)


def test_logits_of_an_objectives_heads_count() -> None:
    """Three linear heads: a square map each, and the logits of the whole vocabulary, forward and backward."""
    spec = {"name": "multi_token", "n": 4, "head": "linear"}
    plain, heads = (cost_of(run_of(objective=objective)) for objective in ("none", spec))
    more = heads.training_flops_per_token - plain.training_flops_per_token
    assert more == pytest.approx(3 * 3 * 2 * (WIDTH * WIDTH + WIDTH * 257), abs=1)


@pytest.mark.parametrize("architecture", ["deepsight", "baseline"])
def test_parameters_are_those_of_the_built_modules(architecture: str) -> None:
    config = run_of(model__architecture=architecture, objective={"name": "future_context", "n": 3, "norm": "both"})
    cost = cost_of(config)
    model = build_model(config)
    objectives = build_objectives(config, model.shape)
    sums = [sum(weight.numel() for weight in module.parameters()) for module in (model, objectives)]
    assert [cost.inference, cost.training_only] == sums
    assert cost.training_only == 3 * 2 * WIDTH
    assert cost.total == sum(sums)
    assert cost.without_positions == cost.total - CONTEXT * WIDTH


def test_a_shared_parameter_counts_once() -> None:
    first = nn.Linear(3, 4, bias=False)
    second = nn.Linear(3, 4, bias=False)
    second.weight = first.weight
    assert parameter_count(nn.ModuleList([first, second])) == 12


def test_saved_bytes_are_those_alive_at_once() -> None:
    weight = torch.ones(1000, requires_grad=True)

    def one() -> Tensor:
        return weight.exp().sum()

    def one_after_another() -> None:
        for _ in range(3):
            torch.autograd.backward(one())

    def together() -> None:
        torch.autograd.backward(torch.stack([one(), one(), one()]).sum())

    # exp keeps its result of 1,000 floats until its backward pass.
    assert most_saved_bytes(one_after_another) == 4000
    assert most_saved_bytes(together) == 12_000


def test_saved_bytes_leave_out_what_is_there_anyway() -> None:
    weight = torch.ones(1000, requires_grad=True)

    def squares() -> None:
        torch.autograd.backward((weight * weight).exp().sum())

    assert most_saved_bytes(squares) == 8000
    assert most_saved_bytes(squares, without=[weight]) == 4000


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": {"name": "future_context", "n": 11}},
        {"model__architecture": "baseline", "runtime__micro_batch_size": 4},
        {"objective": {"name": "multi_token", "n": 7}},
    ],
    ids=["deepsight", "future loss", "baseline, micro-batches", "heads one after another"],
)
def test_the_memory_estimate_is_near_what_a_step_allocates(changes: dict[str, Any]) -> None:
    shape = {"model__width": 64, "model__heads": 4, "model__context": 128, "training__batch_size": 8}
    config = run_of(**shape, **changes)
    cost = cost_of(config)
    model = build_model(config)
    objectives = build_objectives(config, model.shape)
    rows = config.runtime.micro_batch_size or config.training.batch_size
    batch = torch.zeros(rows, config.model.context, dtype=torch.int64)
    activations = cost.training_memory - 16 * cost.total
    peak = peak_bytes(lambda: accumulate_gradients(model, objectives, batch, batch, seed=0, step=0))
    # Beside what is saved, a step holds a few gradients and workspaces.
    assert 1.0 <= peak / activations <= 1.3


@pytest.mark.parametrize("name", ["future_context", "representation"])
def test_the_memory_estimate_holds_weights_gradients_and_moments(name: str) -> None:
    """With one short sequence they are nearly all there is; a teacher's weights have no gradients and no moments."""
    shape = {"model__width": 128, "model__heads": 4, "model__context": 8, "training__batch_size": 1}
    config = run_of(**shape, objective={"name": name, "n": 3})

    def two_steps() -> None:
        model = build_model(config)
        objectives = build_objectives(config, model.shape)
        objectives.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64), config.seed))
        optimizer = build_optimizer([model, objectives], config.training)
        batch = torch.zeros(1, 8, dtype=torch.int64)
        for step in range(2):
            optimizer.zero_grad()
            accumulate_gradients(model, objectives, batch, batch, seed=0, step=step)
            optimizer.step()

    assert peak_bytes(two_steps) == pytest.approx(cost_of(config).training_memory, rel=0.05)


def test_nothing_of_the_models_size_is_allocated() -> None:
    config = run_of(model__width=768, model__heads=12, model__layers=[6, 6], model__context=64)
    costs = []
    allocated = peak_bytes(lambda: costs.append(cost_of(config)))
    assert costs[0].total > 90_000_000
    assert allocated < 1_000_000


def test_a_task_counts_the_tokens_that_its_sequences_have() -> None:
    def run(context: int) -> RunConfig:
        return run_config(
            {
                "model": {"architecture": "baseline", "width": 8, "layers": 1, "heads": 1, "context": context},
                "data": {"task": "path_star"},
                "training": {"steps": 1, "batch_size": 2, "learning_rate": 1e-3},
                "evaluation": {"every": 1},
            }
        )

    just, wide = cost_of(run(24)), cost_of(run(60))
    assert wide.training_flops_per_token == just.training_flops_per_token
    assert wide.training_memory == just.training_memory + 16 * 8 * (60 - 24)
