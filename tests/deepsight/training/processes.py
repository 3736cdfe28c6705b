"""Several processes of one run on this machine, speaking through gloo."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing


def in_processes(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run ``work(*arguments)`` in so many processes of one group, and return what each said, by rank."""
    with tempfile.TemporaryDirectory() as name:
        torch.multiprocessing.start_processes(
            _work, (count, Path(name), work, arguments), nprocs=count, start_method="forkserver"
        )
        return [torch.load(Path(name) / f"{rank}.pt") for rank in range(count)]


def _work(rank: int, count: int, folder: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=count)
    try:
        torch.save(work(*arguments), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
