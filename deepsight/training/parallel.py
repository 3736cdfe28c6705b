"""How processes share the training of a network: one alone, or several with a copy each.

Gradients are sums, not means: each process weighs its rows by their share of the whole batch. Shards of weights are in
`deepsight.training.sharded`.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from deepsight.architecture import Architecture
from deepsight.config import RunConfig
from deepsight.errors import UserError
from deepsight.objectives_of_run import Objectives
from deepsight.ranks import ALONE, Ranks


class Alone:
    """One process: the network itself, and nothing to tell.

    Args:
        model, objectives: that are trained.

    """

    ranks = ALONE
    in_shards = False

    def __init__(self, model: Architecture, objectives: Objectives) -> None:
        self.model, self.objectives = model, objectives
        self.forward: Callable[..., Any] = model

    def compile(self) -> None:
        """Run training's forward passes through torch.compile; evaluation, whose sizes vary, stays as it is."""
        self.forward = compiled(self.model)

    def whole_outside_layers(self) -> contextlib.AbstractContextManager[None]:
        """Within this block a network can be asked in pieces: its embedding here, its layers there."""
        return contextlib.nullcontext()

    def before_forward(self) -> None:
        """Learn that a micro-batch comes."""

    def before_last_backward(self) -> None:
        """Learn that the backward pass through the network of a step's last micro-batch comes."""

    def gather_gradients(self) -> None:
        """Make the gradients those of the whole batch, once the last backward pass is done.

        Here those of the objectives' own weights: the ones that have any, which are the same in every process.
        """
        self.ranks.add_up([weight.grad for weight in self.objectives.parameters() if weight.grad is not None])

    def clipped(self, limit: float) -> Tensor:
        """Scale the gradients so that their norm is at most `limit`, and return the norm before."""
        return torch.nn.utils.clip_grad_norm_([*self.model.parameters(), *self.objectives.parameters()], limit)


class Replicated(Alone):
    """Each process has a whole network (`DistributedDataParallel`); gradients travel during the last backward pass.

    Losses are differentiated one after another, and some of their gradients reach weights before the pass through the
    network begins: all that is added up locally, as in gradient accumulation, and only that last pass sends.
    """

    def __init__(self, model: Architecture, objectives: Objectives, ranks: Ranks) -> None:
        super().__init__(model, objectives)
        self.ranks = ranks
        self.copies = self._copies_of(model)
        self.forward = self._without_sending

    def compile(self) -> None:
        """As alone."""
        self.copies = self._copies_of(compiled(self.model))

    def _copies_of(self, network: Any) -> DistributedDataParallel:
        copies = DistributedDataParallel(network)
        copies.register_comm_hook(None, _added_up)
        return copies

    def _without_sending(self, *arguments: Tensor) -> Any:
        with self.copies.no_sync():
            return self.copies(*arguments)

    def before_last_backward(self) -> None:
        """Let the network's gradients travel as they become final."""
        self.copies.reducer.prepare_for_backward([])


def compiled(model: Architecture) -> Any:
    """Return a network that runs through torch.compile, for batches of one size: another size is compiled anew."""
    return torch.compile(model, dynamic=False)


def check_shareable(config: RunConfig, ranks: Ranks) -> None:
    """Check that processes can train a run together.

    Raises:
        UserError: its batch cannot be divided among them, or it asks for what needs whole weights in one process.

    """
    ranks.own_rows(config.training.batch_size)
    if not ranks.together:
        return
    runtime = config.runtime
    if ":" in runtime.device:
        raise UserError(
            f"{runtime.device} is one device, and {ranks.size} processes need one each; set cuda, or auto",
            ("runtime", "device"),
        )
    if runtime.parallel == "sharded" and runtime.gradients_by_layer:
        raise UserError("needs whole weights; set runtime.parallel to replicated", ("runtime", "gradients_by_layer"))
    if runtime.parallel == "sharded" and runtime.probes:
        raise UserError(
            "need whole weights, which a sharded run has at its end alone; ask `deepsight evaluate` then",
            ("runtime", "probes"),
        )


def shared_by(ranks: Ranks, wanted: str, model: Architecture, objectives: Objectives, device: torch.device) -> Alone:
    """Return how processes share a network.

    Args:
        ranks: the processes.
        wanted: `runtime.parallel`.
        model, objectives: that are trained.
        device: on which they are trained.

    """
    if not ranks.together:
        return Alone(model, objectives)
    if wanted == "sharded":
        # Half a second to import.
        from deepsight.training.sharded import Sharded

        return Sharded(model, objectives, ranks, device)
    return Replicated(model, objectives, ranks)


def is_in_shards(tensor: Tensor) -> bool:
    """Say whether this process has a shard of a tensor alone: whether it is a `DTensor`."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that is in shards as a whole, in every process; any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


# DistributedDataParallel looks at these annotations, so they must not be texts: no annotations from __future__ here.
def _added_up(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    reduced: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return reduced
