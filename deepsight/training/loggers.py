"""Others who are told of a run's rows as they are recorded; the run's own record is its metrics file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from deepsight.errors import UserError
from deepsight.plug_ins import loggers
from deepsight.registry import Spec

Row = dict[str, Any]


@runtime_checkable
class Logger(Protocol):
    """Where rows go.

    One of your own is a class with these two methods under ``@loggers.register("name")``
    (`deepsight.plug_ins.loggers`). It is built with `folder`, the run's own, and `about`, its configuration as plain
    data; its other typed parameters are what `runtime.loggers` may set. An attribute `needs` names a package, and the
    extra of ours that brings it, without which no run begins.
    """

    def log(self, row: Row) -> None:
        """Take a row in: `kind` ("train" or "evaluation"), `step`, `tokens`, `seconds`, and numbers by name."""
        ...

    def close(self) -> None:
        """Let go of everything; the run is over, or stops for now."""
        ...


def numbers_of(row: Row) -> dict[str, float]:
    """Return a row's numbers, named ``kind/metric``."""
    return {f"{row['kind']}/{name}": value for name, value in row.items() if isinstance(value, float)}


@loggers.register("tensorboard", source="tensorflow.org/tensorboard")
class TensorBoard:
    """Event files in the run's folder, for ``tensorboard --logdir runs``."""

    needs = "tensorboard"

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard")

    def log(self, row: Row) -> None:
        """Write every number of a row as a scalar."""
        for name, value in numbers_of(row).items():
            self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


@loggers.register("trackio", source="huggingface.co/docs/trackio")
class Trackio:
    """Trackio's store on this machine, for ``trackio show``, or a Space.

    Args:
        folder: of the run, whose name is the run's there.
        about: the run's configuration.
        project: to which the run belongs.
        group: of runs that belong together.
        space: a Space on the Hub, ``user/name``; None keeps everything here.

    """

    needs = "trackio"

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        project: str = "deepsight",
        group: str | None = None,
        space: str | None = None,
    ) -> None:
        import trackio

        self._run = trackio.init(
            project=project, name=folder.name, group=group, space_id=space, config=about, resume="allow", embed=False
        )

    def log(self, row: Row) -> None:
        """Send the numbers of a row."""
        self._run.log(numbers_of(row), step=row["step"])

    def close(self) -> None:
        """Send what has not been sent."""
        self._run.finish()


@loggers.register("wandb", source="docs.wandb.ai")
class WeightsAndBiases:
    """Weights & Biases; a run that goes on is the same run there.

    Args:
        folder: of the run, whose name is the run's there.
        about: the run's configuration.
        project: to which the run belongs.
        entity: user or team; None is the default of the account.
        group: of runs that belong together.
        mode: `offline` keeps everything in the run's folder, for ``wandb sync``.

    """

    needs = "wandb"

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        project: str = "deepsight",
        entity: str | None = None,
        group: str | None = None,
        mode: Literal["online", "offline", "disabled"] = "online",
    ) -> None:
        import wandb

        same_run = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._run = wandb.init(
            project=project, entity=entity, group=group, mode=mode, name=folder.name, id=same_run, resume="allow",
            config=about, dir=folder,
        )  # fmt: skip

    def log(self, row: Row) -> None:
        """Send the numbers of a row; what one step has of both kinds is one step there."""
        self._run.log({**numbers_of(row), "tokens": row["tokens"]}, step=row["step"])

    def close(self) -> None:
        """Send what has not been sent."""
        self._run.finish()


class Loggers:
    """Tells each logger of every row; one that fails is named once and not told again, and training goes on.

    Args:
        specs: of `runtime.loggers`.
        folder: the run's own.
        about: its configuration.

    Raises:
        UserError: a logger cannot begin.

    """

    def __init__(self, specs: Iterable[Spec | str], folder: Path, about: dict[str, Any]) -> None:
        self._told: dict[str, Logger] = {}
        for position, spec in enumerate(specs):
            name = spec if isinstance(spec, str) else str(spec["name"])
            try:
                self._told[f"{position}: {name}"] = loggers.build(spec, folder=folder, about=about)
            except UserError as error:
                raise error.within("runtime", "loggers", position) from None
            except Exception as error:  # noqa: BLE001 - a stranger's service may fail in any way
                told = str(error).strip().partition("\n")[0]
                raise UserError(f"the logger {name!r} cannot begin: {told}", ("runtime", "loggers", position)) from None

    def log(self, row: Row) -> None:
        """Tell all of a row."""
        for name, logger in list(self._told.items()):
            try:
                logger.log(row)
            except Exception as error:  # noqa: BLE001 - no service may end a run
                del self._told[name]
                warnings.warn(f"runtime.loggers.{name} fails and is told no more: {error}", stacklevel=2)

    def close(self) -> None:
        """Let all of them go."""
        for name, logger in self._told.items():
            try:
                logger.close()
            except Exception as error:  # noqa: BLE001 - no service may end a run
                warnings.warn(f"runtime.loggers.{name} fails at its end: {error}", stacklevel=2)
        self._told.clear()
