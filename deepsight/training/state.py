"""Where a run stands, and how that is kept in its folder: in one file, or in shards while each process has its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepsight.errors import DamagedError
from deepsight.training.checkpoint import optimizer_tensors, read_checkpoint, write_tensors
from deepsight.training.names import CHECKPOINT_FILE, SHARDS_FILE
from deepsight.training.parallel import Alone, is_in_shards, whole
from deepsight.training.shards import Shards


@dataclasses.dataclass
class Progress:
    """Where a run stands: all that resuming needs beside weights and optimiser.

    Attributes:
        step: optimiser steps done.
        tokens: tokens trained on.
        seconds: spent in training steps, evaluation left out, over all attempts.
        loss_sum, loss_count: next-token losses since the last evaluation.
        batches: rolling digest of the batches.
        last: the metrics of the last evaluation.
        rows: recorded in the metrics file.

    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    batches: str = ""
    last: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: int = 0


def is_kept(folder: Path) -> bool:
    """Say whether a run's folder has a checkpoint."""
    return any((Path(folder) / name).is_file() for name in (CHECKPOINT_FILE, SHARDS_FILE))


class RunState:
    """Weights, optimiser and progress of a run, and the checkpoint in its folder.

    Args:
        folder: the run's own.
        parallel: the network and its objectives, and how processes share them.
        optimizer: of both.

    """

    def __init__(self, folder: Path, parallel: Alone, optimizer: torch.optim.Optimizer) -> None:
        self.folder, self.parallel, self.optimizer = Path(folder), parallel, optimizer
        self.progress = Progress()
        self._file = self.folder / CHECKPOINT_FILE
        self._shards = Shards(self.folder, parallel.ranks)

    def save(self, about: Mapping[str, Any], *, finished: bool) -> None:
        """Write a checkpoint, once all processes are here; one that is finished has whole weights and no optimiser.

        Raises:
            FileNotFoundError: the folder is gone.

        """
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: the run's folder is gone")
        content = {**about, "progress": dataclasses.asdict(self.progress)}
        if self.parallel.in_shards and not finished:
            self._shards.save(content, self._tensors(), self.progress.step)
            if self.parallel.ranks.leads:
                self._file.unlink(missing_ok=True)
        else:
            self._save_whole(content, finished=finished)
        self.parallel.ranks.wait()

    def restore(self) -> bool:
        """Put back what the folder's checkpoint holds, however many processes wrote it; False where there is none.

        Raises:
            DamagedError: it is not what was written.
            UserError: the processes do not see the same one.

        """
        in_shards = self._shards.about()
        if self._file.is_file():
            about = self._restore_whole()
        elif in_shards is not None:
            about = self._restore_shards(in_shards)
        else:
            about = None
        if about is not None:
            self.progress = Progress(**about["progress"])
        self.parallel.ranks.check_same(self.progress.step, f"{self.folder}: the step of the checkpoint")
        return about is not None

    def _save_whole(self, about: Mapping[str, Any], *, finished: bool) -> None:
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "objective": {}, "optimizer": {}}
        # One tensor at a time is whole, and only where it is written.
        for name, tensor in self._tensors(with_optimizer=not finished).items():
            complete = whole(tensor).detach().cpu()
            if self.parallel.ranks.leads:
                part, _, rest = name.partition(".")
                parts[part][rest] = complete
        if self.parallel.ranks.leads:
            write_tensors(self._file, dict(about), **parts)
            self._shards.remove()

    def _restore_whole(self) -> dict[str, Any]:
        checkpoint = read_checkpoint(self._file)
        self._make_room(set(checkpoint.tensors))
        targets = self._tensors()
        missing = sorted(targets.keys() ^ checkpoint.tensors.keys())
        if missing:
            raise DamagedError(
                f"{self._file}: this checkpoint is damaged: {missing[0]} is in it or in the run, not in both"
            )
        with torch.no_grad():
            for name, target in targets.items():
                target.copy_(_as_spread(checkpoint.tensors[name].to(target.device), target))
        return checkpoint.about

    def _restore_shards(self, about: dict[str, Any]) -> dict[str, Any]:
        self._make_room(self._shards.names())
        self._shards.read_into(self._tensors())
        return about

    def _tensors(self, *, with_optimizer: bool = True) -> dict[str, Tensor]:
        model, objectives = self.parallel.model, self.parallel.objectives
        parts: dict[str, Mapping[str, Tensor]] = {"model": model.state_dict(), "objective": objectives.state_dict()}
        if with_optimizer:
            parts["optimizer"] = optimizer_tensors(self.optimizer, model=model, objective=objectives)
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def _make_room(self, names: set[str]) -> None:
        """Give the optimiser the empty state that a checkpoint's names speak of."""
        modules = {"model": self.parallel.model, "objective": self.parallel.objectives}
        for kind, module in modules.items():
            for name, weight in module.named_parameters():
                prefix = f"optimizer.{kind}.{name}."
                keys = [stored.removeprefix(prefix) for stored in names if stored.startswith(prefix)]
                for key in keys:
                    number = torch.zeros((), dtype=torch.float32, device=weight.device)
                    self.optimizer.state[weight][key] = number if key == "step" else torch.zeros_like(weight)


def _as_spread(complete: Tensor, target: Tensor) -> Tensor:
    if not is_in_shards(target):
        return complete
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(target, DTensor)
    return distribute_tensor(complete, target.device_mesh, target.placements, src_data_rank=None)
