"""One file that holds a run at a step: weights, optimiser and position, all of it or nothing.

safetensors, so nothing is unpickled. Tensors are named ``model.…``, ``objective.…`` and
``optimizer.<parameter>.<state>``; what is no tensor stands in the file's metadata as JSON.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deepsight.errors import DamagedError, UserError
from deepsight.files import atomic_path

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: `about` is the JSON metadata, `tensors` are on the CPU."""

    about: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose name starts with ``prefix.``, without it."""
        return {name.removeprefix(f"{prefix}."): t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}


def write_tensors(
    file: Path,
    about: dict[str, Any],
    model: Mapping[str, Tensor],
    objective: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint file; after a crash it is the old one or the new one.

    Args:
        file: where.
        about: JSON data that says what the weights are and where the run stands.
        model, objective: the tensors of network and objectives, by name.
        optimizer: as `optimizer_tensors` returns them; left out once a run is finished.

    """
    parts = {"model": model, "objective": objective, "optimizer": optimizer or {}}
    tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    described = {"format": FORMAT, **about, "checksum": _checksum(content)}
    with atomic_path(file) as temporary:
        save_file(content, temporary, metadata={"deepsight": json.dumps(described)})


def read_checkpoint(file: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DamagedError: the file, or a part of it, cannot be what was written.
        UserError: the file is missing, or no checkpoint of ours.

    """
    if not Path(file).is_file():
        raise UserError(f"{file}: there is no checkpoint here")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{file}: this is not a readable safetensors file: {error}") from None
    if "deepsight" not in metadata:
        raise UserError(f"{file}: this is not a DeepSight checkpoint; `deepsight convert` reads the original ones")
    try:
        about = dict(json.loads(metadata["deepsight"]))
    except ValueError:
        raise DamagedError(f"{file}: this checkpoint is damaged: its metadata cannot be read") from None
    if about.get("format") != FORMAT:
        raise UserError(f"{file}: this checkpoint has format {about.get('format')}; this version reads format {FORMAT}")
    # Files converted or written by others may have none.
    if about.get("checksum", checksum := _checksum(tensors)) != checksum:
        raise DamagedError(f"{file}: this checkpoint is damaged: its tensors are not those that were written")
    return Checkpoint(about, tensors)


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return a CRC-32 over names and bytes: against damage, not against malice."""
    found = 0
    for name in sorted(tensors):
        content: Any = tensors[name].reshape(-1).view(torch.uint8).numpy()
        found = zlib.crc32(content, zlib.crc32(name.encode("utf-8"), found))
    return found


def optimizer_tensors(optimizer: torch.optim.Optimizer, **modules: nn.Module) -> dict[str, Tensor]:
    """Return the optimiser's state as ``kind.parameter.key`` → tensor; `modules` are given by kind."""
    return {
        f"{kind}.{name}.{key}": value
        for kind, module in modules.items()
        for name, weight in module.named_parameters()
        for key, value in optimizer.state.get(weight, {}).items()
    }
