"""The processes that train one run together: which of them this is, and what they tell each other.

Without `torch.distributed` there is one, and nothing is told.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from deepsight.errors import LostProcessError, UserError

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: as long as one may take to pack a large corpus. One that ends is noticed at
once."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: its number, from 0.
        size: how many there are.

    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> Ranks:
        """Return what the process group says; one process alone where there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks to people."""
        return self.rank == 0

    @property
    def together(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def own_rows(self, rows: int) -> slice:
        """Return which of a batch's rows are this process's: as many for each, in order.

        Raises:
            UserError: they cannot be divided evenly.

        """
        if rows % self.size:
            below, above = rows // self.size * self.size, (rows // self.size + 1) * self.size
            near = f"{below} or {above}" if below else f"{above}"
            raise UserError(
                f"a batch of {rows} sequences cannot be divided among {self.size} processes; nearest: {near}",
                ("training", "batch_size"),
            )
        each = rows // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place."""
        if self.together and tensors:
            flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
            dist.all_reduce(flat)
            for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
                tensor.detach().copy_(part.view_as(tensor))

    def any_of(self, said: bool) -> bool:
        """Return whether any process says yes; all of them must ask."""
        if not self.together:
            return said
        # On the CPU, so that no GPU is waited for.
        answer = torch.tensor([float(said)])
        dist.all_reduce(answer)
        return bool(answer.item())

    def check_same(self, number: int, what: str) -> None:
        """Check that all processes have the same number.

        Raises:
            UserError: they have not.

        """
        if not self.together:
            return
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(found, torch.tensor([number]))
        numbers = [int(one) for one in found]
        if len(set(numbers)) > 1:
            raise UserError(
                f"{what} is {', '.join(map(str, numbers))} in process 0, 1, …; all need the run's folder on one disk"
            )

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.any_of(False)


ALONE = Ranks()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Within this block the processes that torchrun started are one group; without torchrun there is one process.

    Raises:
        LostProcessError: another process ends or cannot be reached.
        UserError: the environment does not say how to reach the others.

    """
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        yield ALONE
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UserError(f"WORLD_SIZE is set and {missing[0]} is not; torchrun sets all, and for one process unset it")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        yield Ranks.of_this_process()
    except RuntimeError as error:
        if not _speaks_of_processes(error):
            raise
        raise LostProcessError(
            "another process of this run has ended, or cannot be reached; "
            "the same command goes on from the last checkpoint"
        ) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _speaks_of_processes(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


_sharing = ALONE
"""The processes that share the batch which is being computed."""


@contextlib.contextmanager
def sharing_a_batch(ranks: Ranks) -> Iterator[None]:
    """Within this block every process has other rows of one batch, and `of_whole_batch` asks for all."""
    global _sharing
    before, _sharing = _sharing, ranks
    try:
        yield
    finally:
        _sharing = before


def of_whole_batch(rows: Float[Tensor, "rows ..."]) -> Float[Tensor, "all_rows ..."]:
    """Return the rows of all processes that share a batch, in order; where there is one, the rows themselves.

    For objectives that hold rows against each other. The gradient of whatever any process makes of a row arrives at the
    process that the row comes from.
    """
    if not _sharing.together:
        return rows
    gathered: Tensor = _Gathered.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _Gathered(torch.autograd.Function):
    """The rows of all processes.

    In place of torch.distributed.nn's, whose gradients through gloo are wrong where they are not contiguous.
    """

    @staticmethod
    def forward(rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.rows = inputs[0].shape[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole[dist.get_rank() * ctx.rows :][: ctx.rows]


def first_of_whole_batch(rows: int) -> int:
    """Return where this process's `rows` begin among those that `of_whole_batch` returns."""
    return _sharing.rank * rows if _sharing.together else 0


def processes() -> int:
    """Return how many processes share the batch that is being computed."""
    return _sharing.size
