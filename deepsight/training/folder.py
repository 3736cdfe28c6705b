"""A run's folder: which run it holds, whether another process is at it, and what is in it when training starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from deepsight.config import RunConfig
from deepsight.data.source import Source
from deepsight.errors import UserError
from deepsight.files import read_json, remove_leftovers, write_json, write_text
from deepsight.merging import with_dotted_keys
from deepsight.ranks import ALONE, Ranks
from deepsight.training.lock import locked
from deepsight.training.loop import Trainer
from deepsight.training.names import CONFIG_FILE, PROVENANCE_FILE, RESULT_FILE, TOKENIZER_FILE
from deepsight.training.provenance import provenance
from deepsight.training.record import Row
from deepsight.validation import validated
from deepsight.yaml_files import dump_yaml, read_yaml


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def config(self) -> RunConfig:
        """Return the configuration of the run that the folder holds.

        Raises:
            UserError: there is none, or it cannot be read.

        """
        file = self.path / CONFIG_FILE
        try:
            return validated(RunConfig, read_yaml(file))
        except UserError as error:
            raise (error if str(error).startswith(str(file)) else UserError(f"{file}: {error}")) from None

    def check(self, config: RunConfig) -> None:
        """Refuse a folder that holds something else than this run.

        Raises:
            UserError: naming the first key that differs.

        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: this is a file; a folder is needed for a run")
        if not (self.path / CONFIG_FILE).is_file():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise UserError(f"{self.path}: this folder is not empty and holds no run; choose another --out")
            return
        held, wanted = _identity(self.config()), _identity(config)
        different = next((key for key in {**held, **wanted} if held.get(key) != wanted.get(key)), None)
        if different is not None:
            raise UserError(
                f"{self.path}: this folder holds another run: {different} is {held.get(different)!r} there "
                f"and {wanted.get(different)!r} here; choose another --out"
            )

    def result(self) -> Row | None:
        """Return the result of a finished run, None before."""
        file = self.path / RESULT_FILE
        return dict(read_json(file)) if file.is_file() else None

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder for this process (`deepsight.training.lock.locked`)."""
        return locked(self.path)

    def prepare(
        self,
        config: RunConfig,
        source: Source,
        on_row: Callable[[Row], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
        ranks: Ranks = ALONE,
    ) -> Trainer:
        """Write what describes the run and return its trainer, which tells of every row and, at every step, of life.

        Of processes that train together the leading one writes, and holds the lock.
        """
        if ranks.leads:
            remove_leftovers(self.path)
        trainer = Trainer(config, source, self.path, on_row, alive, ranks)
        if not ranks.leads:
            return trainer
        write_text(self.path / CONFIG_FILE, dump_yaml(config.complete()))
        source.tokenizer().save(self.path / TOKENIZER_FILE)
        write_json(self.path / PROVENANCE_FILE, {**provenance(trainer.device), "processes": ranks.size})
        return trainer


def _identity(config: RunConfig) -> dict[str, Any]:
    content = config.complete()
    del content["runtime"]
    return with_dotted_keys(content)
