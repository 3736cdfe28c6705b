"""TensorBoard events of a run, where someone asks for them; the run's own record is its metrics file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepsight.errors import UserError

FOLDER = "tensorboard"


def tensorboard_writer(folder: Path) -> Callable[[dict[str, Any]], None]:
    """Return a function that writes every number of a row as a scalar, named ``kind/metric``, at the row's step.

    Raises:
        UserError: TensorBoard is not installed.

    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            'TensorBoard is not installed; pip install "deepsight[tensorboard]"', ("runtime", "tensorboard")
        ) from None
    writer = SummaryWriter(folder / FOLDER)

    def write(row: dict[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, float):
                writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])
        writer.flush()

    return write
