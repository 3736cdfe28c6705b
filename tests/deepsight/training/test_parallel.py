"""Several processes compute what one does: the same losses, metrics and gradients of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.ranks import Ranks, first_of_whole_batch, of_whole_batch, sharing_a_batch
from deepsight.training.parallel import shared_by, whole
from deepsight.training.step import accumulate_gradients
from tests.deepsight.training.processes import in_processes
from tests.models import lively, random_tokens, small_model

BATCH = 8
TOLERANCE = 1e-10
"""Relative, in float64: another order of additions."""

OBJECTIVES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "future loss and heads": [
        {"name": "future_context", "n": 3, "coefficient": 0.7},
        {"name": "multi_token", "n": 3, "coefficient": 0.3},
    ],
    "a network of its own": [{"name": "reverse_model", "coefficient": 1.0}],
    "another pass": [{"name": "teacherless", "coefficient": 1.0}],
    "whole batches": [
        {"name": "contrastive_prediction", "n": 2, "negatives": 16, "coefficient": 1.0},
        *(
            {"name": "future_context", "n": 2, "distance": distance, "normaliser": normaliser, "coefficient": 1.0}
            for distance in ("info_nce", "vicreg", "barlow", "correlation")
            for normaliser in ("none", "standardise", "whiten")
        ),
        {"name": "future_context", "n": 2, "distance": {"name": "info_nce", "negatives": 7}, "coefficient": 1.0},
    ],
}


def step_of(
    specs: list[dict[str, Any]], micro_batch_size: int | None = None, kind: str = "replicated"
) -> dict[str, Tensor]:
    """Return metrics and gradients of one step, of this process among those of its group."""
    torch.set_default_dtype(torch.float64)
    model = lively(small_model(dtype=torch.float64, layers=[1, 1])).train()
    resolved = [{**objectives.resolve({k: v for k, v in spec.items() if k != "coefficient"}), **spec} for spec in specs]
    built = Objectives(resolved, model.shape, seed=0).double()
    built.prepare(Preparation(model, lambda: torch.ones(model.vocabulary), 0))
    tokens = random_tokens(model, BATCH, model.config.context + 1 + built.lookahead)
    parallel = shared_by(Ranks.of_this_process(), kind, model, built, torch.device("cpu"))
    targets = tokens[:, 1 : model.config.context + 1].clone()
    if not specs:
        targets[0, :5] = -100  # what the processes count differs; objectives weigh their batches by rows alone
    later = tokens[:, model.config.context + 1 :] if built.lookahead else None
    metrics = accumulate_gradients(
        model, built, tokens[:, : model.config.context], targets, later,
        seed=0, step=3, micro_batch_size=micro_batch_size, watch=not specs, parallel=parallel,
    )  # fmt: skip
    norm = parallel.clipped(0.5)
    weights = {**dict(model.named_parameters()), **dict(built.named_parameters())}
    found = {f"gradient {name}": whole(weight.grad) for name, weight in weights.items() if weight.grad is not None}
    return {**metrics, **found, "norm": norm}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("replicated", 2), ("replicated", 4), ("sharded", 2)])
@pytest.mark.parametrize("specs", OBJECTIVES.values(), ids=OBJECTIVES)
def test_gradients_and_metrics_are_those_of_one_process(specs: list[dict[str, Any]], count: int, kind: str) -> None:
    alone = step_of(specs)
    torch.set_default_dtype(torch.float32)
    for found in in_processes(count, step_of, specs, None, kind):
        assert found.keys() == alone.keys()
        for name, wanted in alone.items():
            rtol = 1e-6 if not name.startswith("gradient") else TOLERANCE
            torch.testing.assert_close(
                found[name], wanted, rtol=rtol, atol=TOLERANCE, msg=lambda text, n=name: f"{n}: {text}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_gradients_of_accumulated_micro_batches_are_those_of_one_process(kind: str) -> None:
    specs = OBJECTIVES["future loss and heads"]
    alone = step_of(specs, 2)
    torch.set_default_dtype(torch.float32)
    for found in in_processes(2, step_of, specs, 2, kind):
        for name, wanted in alone.items():
            torch.testing.assert_close(found[name], wanted, rtol=1e-6, atol=TOLERANCE)


def test_each_process_has_rows_of_its_own() -> None:
    assert [Ranks(rank, 4).own_rows(12) for rank in range(4)] == [slice(n, n + 3) for n in (0, 3, 6, 9)]
    with pytest.raises(UserError, match="10 sequences cannot be divided among 4 processes; nearest: 8 or 12"):
        Ranks(1, 4).own_rows(10)
    with pytest.raises(UserError, match="3 sequences cannot be divided among 4 processes; nearest: 4"):
        Ranks(1, 4).own_rows(3)


def test_alone_the_whole_batch_is_ones_own() -> None:
    rows = torch.randn(3, 2)
    with sharing_a_batch(Ranks()):
        assert of_whole_batch(rows) is rows
        assert first_of_whole_batch(3) == 0


def gathered(factor: float) -> tuple[Tensor, Tensor]:
    """Return the rows of all processes, and the gradient at this one's."""
    ranks = Ranks.of_this_process()
    rows = (torch.arange(4.0).view(2, 2) + 10 * ranks.rank).requires_grad_()
    with sharing_a_batch(ranks):
        everything = of_whole_batch(rows)
        first = first_of_whole_batch(2)
    # Each process weighs all rows by a number of its own.
    (everything * (factor + ranks.rank)).sum().backward()
    assert rows.grad is not None
    return everything.detach(), torch.tensor([float(first), *rows.grad.flatten().tolist()])


@pytest.mark.slow
def test_what_all_processes_make_of_a_row_comes_back_to_it() -> None:
    for rank, (everything, back) in enumerate(in_processes(3, gathered, 1.0)):
        assert everything[:, 0].tolist() == [0, 2, 10, 12, 20, 22]
        assert back.tolist() == [2 * rank, *[1 + 2 + 3] * 4]
