from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig
from deepsight.plug_ins import objectives as registry
from deepsight.ranks import Ranks
from deepsight.trace import IGNORED, Shape, Trace
from deepsight.training.parallel import Alone
from deepsight.training.step import accumulate_gradients
from tests.runs import run_of


def gradients(config: RunConfig, inputs: Tensor, targets: Tensor, rows: int | None = None) -> dict[str, Tensor]:
    model = build_model(config).double()
    objectives = build_objectives(config, model.shape).double()
    accumulate_gradients(model, objectives, inputs, targets, seed=3, step=5, micro_batch_size=rows)
    modules = {"model": model, "objective": objectives}
    return {
        f"{kind}.{name}": weight.grad
        for kind, module in modules.items()
        for name, weight in module.named_parameters()
        if weight.grad is not None
    }


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(257, (6, 17), generator=generator)
    return tokens[:, :-1], tokens[:, 1:].clone()


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch(tmp_path: Path, rows: int) -> None:
    config = run_of(tmp_path)
    inputs, targets = batch()
    targets[0, :9] = IGNORED
    whole, parts = gradients(config, inputs, targets), gradients(config, inputs, targets, rows)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_the_gradient_is_that_of_the_weighted_sum(tmp_path: Path) -> None:
    inputs, targets = batch()
    alone = gradients(run_of(tmp_path, objective="none"), inputs, targets)
    once = gradients(run_of(tmp_path), inputs, targets)
    thrice = gradients(run_of(tmp_path, objective__coefficient=3.0), inputs, targets)
    for name, gradient in alone.items():
        auxiliary = once[name] - gradient
        torch.testing.assert_close(thrice[name], gradient + 3 * auxiliary, rtol=1e-9, atol=1e-12, msg=name)
    assert any(not torch.equal(once[name], gradient) for name, gradient in alone.items())


class Quiet(Ranks):
    """Processes that tell each other nothing."""

    def add_up(self, tensors: list[Tensor]) -> None:
        pass


def test_no_micro_batch_drops_as_another_does_in_any_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with three rows each, in micro-batches of two rows and one."""
    config = run_of(tmp_path, objective="none")
    seeds: list[int] = []
    for rank in range(2):
        model = build_model(config)
        parallel = Alone(model, build_objectives(config, model.shape))
        parallel.ranks = Quiet(rank, 2)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "manual_seed", seeds.append)
            accumulate_gradients(
                model, parallel.objectives, *batch(), seed=3, step=5, micro_batch_size=2, parallel=parallel
            )
    assert len(seeds) == len(set(seeds)) == 4


class DrawsNumbers(nn.Module):
    """Says nothing, but draws from the global generator."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": 0.0 * torch.rand(3).sum()}


@pytest.fixture
def _inert_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_components", dict(registry._components))
    registry.register("draws_numbers")(DrawsNumbers)


@pytest.mark.usefixtures("_inert_objective")
def test_what_an_objective_draws_moves_neither_weights_nor_dropout(tmp_path: Path) -> None:
    inputs, targets = batch()
    config = run_of(tmp_path, objective="none", model__dropout=0.4)
    beside = run_of(tmp_path, objective="draws_numbers", model__dropout=0.4)
    alone, together = gradients(config, inputs, targets, 2), gradients(beside, inputs, targets, 2)
    for name, gradient in alone.items():
        assert torch.equal(together[name], gradient), name


def test_an_objective_without_a_loss_is_named(tmp_path: Path) -> None:
    class Silent(nn.Module):
        def forward(self, trace: Trace) -> dict[str, Tensor]:
            return {}

    config = run_of(tmp_path)
    model = build_model(config)
    objectives = build_objectives(config, model.shape)
    objectives.parts["future_context"] = Silent()
    with pytest.raises(ValueError, match=r"'future_context' .* must return a dict with a tensor 'loss'"):
        accumulate_gradients(model, objectives, *batch(), seed=0, step=0)
