"""Processes that each have a shard of every weight: fully sharded data parallelism."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.objective import Objective
from deepsight.objectives_of_run import Objectives
from deepsight.ranks import Ranks
from deepsight.trace import Trace
from deepsight.training.parallel import Alone, whole


class Sharded(Alone):
    """Each process has a shard of every weight of the network (`fully_shard`, FSDP2), and of its optimiser's state.

    A layer's weights are gathered when it computes and let go after. The embedding, which is the output matrix too, and
    what stands outside the layers are whole from the beginning of a forward pass to the end of its backward pass, so
    losses and objectives read them as ever. The objectives' own weights are whole in every process.

    Raises:
        UserError: an objective follows the network's weights after each step, and would see shards.

    """

    def __init__(self, model: Architecture, objectives: Objectives, ranks: Ranks, device: torch.device) -> None:
        super().__init__(model, objectives)
        self.ranks, self.in_shards = ranks, True
        _refuse_followers(objectives)
        _let_hooks_see(Trace)
        mesh = init_device_mesh(device.type, (ranks.size,))
        for layer in model.stacked_layers():
            fully_shard(layer, mesh=mesh)
        self.shards = fully_shard(model, mesh=mesh, reshard_after_forward=False)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                # gloo knows no sum that scales.
                module.set_force_sum_reduction_for_comms(True)

    @contextlib.contextmanager
    def whole_outside_layers(self) -> Iterator[None]:
        """Gather what stands outside the layers for a while."""
        self.shards.unshard()
        try:
            yield
        finally:
            self.shards.reshard()

    def before_forward(self) -> None:
        """Keep gradients here, and what stands outside the layers whole, until the last backward pass."""
        self._end_with_backward(False)

    def before_last_backward(self) -> None:
        """Let gradients travel as they become final, and let go of all weights after."""
        self._end_with_backward(True)

    def _end_with_backward(self, ends: bool) -> None:
        self.shards.set_requires_gradient_sync(ends)
        self.shards.set_reshard_after_backward(ends, recurse=False)

    def clipped(self, limit: float) -> Tensor:
        """Scale the gradients, shards and whole ones, so that their norm is at most `limit`; return the norm before."""
        parts = [list(self.model.parameters()), list(self.objectives.parameters())]
        norms = [whole(get_total_norm([w.grad for w in part if w.grad is not None])) for part in parts]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        for part in parts:
            clip_grads_with_norm_(part, limit, norm)
        return norm


def _refuse_followers(objectives: Objectives) -> None:
    for position, (label, part) in enumerate(objectives.parts.items()):
        for module in part.modules():
            own = getattr(type(module), "after_step", None)
            if own is not None and own is not Objective.after_step:
                raise UserError(
                    f"{objectives.names[label]} follows the network's weights after each step, and sharded ones are "
                    "nowhere whole; set runtime.parallel to replicated",
                    ("objective", position),
                )


def _let_hooks_see(output: type) -> None:
    """Let FSDP find the tensors in what a network returns."""
    if output not in torch.utils._pytree.SUPPORTED_NODES:
        torch.export.register_dataclass(output)
