import itertools
import math

import pytest
import torch
from torch import nn

from deepsight.config import TrainingConfig
from deepsight.training.optimizer import build_optimizer, learning_rate


def config(**changes: object) -> TrainingConfig:
    values: dict[str, object] = {"steps": 100, "batch_size": 1, "learning_rate": 1e-3, "warmup_steps": 10, **changes}
    return TrainingConfig.model_validate(values)


def test_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    shared = nn.Linear(3, 3)
    modules = [nn.Sequential(shared, nn.LayerNorm(3)), nn.ModuleList([shared, nn.Embedding(4, 3)])]
    optimizer = build_optimizer(modules, config(weight_decay=0.3))
    grouped = [weight for group in optimizer.param_groups for weight in group["params"]]
    everything = {id(weight) for module in modules for weight in module.parameters()}
    assert len(grouped) == len({id(weight) for weight in grouped}) == len(everything) == 5
    assert {id(weight) for weight in grouped} == everything
    for group in optimizer.param_groups:
        assert {weight.ndim >= 2 for weight in group["params"]} == {group["weight_decay"] == 0.3}


def test_one_step_is_adamw_written_out() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 2, dtype=torch.float64))
    before, gradient = weight.detach().clone(), torch.randn(3, 2, dtype=torch.float64)
    holder = nn.Module()
    holder.register_parameter("weight", weight)
    optimizer = build_optimizer([holder], config(weight_decay=0.2, betas=[0.8, 0.9]))
    weight.grad = gradient
    optimizer.step()
    # At the first step the corrected moments are the gradient and its square.
    expected = before * (1 - 1e-3 * 0.2) - 1e-3 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-12)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    settings = config(final_learning_rate_fraction=0.2)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4, rel=1e-12)
    assert rates[9] == rates[10] == pytest.approx(1e-3, rel=1e-12)
    assert rates[55] == pytest.approx(1e-3 * (0.2 + 0.8 * 0.5), rel=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    last = 1e-3 * (0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert rates[-1] == pytest.approx(last, rel=1e-12)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert learning_rate(0, config(warmup_steps=0)) == 1e-3
