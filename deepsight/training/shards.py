"""A checkpoint in shards: every process writes its own in safetensors files, and any number of processes read them.

`torch.distributed.checkpoint` does the work, and is imported where there is some. A small file says which folder of
shards counts, so that after a crash it is the one before or the new one.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import Tensor

from deepsight.errors import DamagedError
from deepsight.files import read_json, write_json
from deepsight.ranks import Ranks
from deepsight.training.names import SHARDS_FILE

if TYPE_CHECKING:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

FORMAT = 1


class Shards:
    """The checkpoints in shards of a run's folder.

    Args:
        folder: the run's own, on a disk that all processes share.
        ranks: the processes that write and read together.

    """

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder, self.ranks = Path(folder), ranks
        self.file = self.folder / SHARDS_FILE

    def about(self) -> dict[str, Any] | None:
        """Return what was said of the last checkpoint, None where there is none.

        Raises:
            DamagedError: the file cannot be what was written.

        """
        if not self.file.is_file():
            return None
        try:
            content = dict(read_json(self.file))
        except (ValueError, TypeError):
            raise DamagedError(f"{self.file}: this checkpoint is damaged: it cannot be read") from None
        if content.get("format") != FORMAT:
            raise DamagedError(f"{self.file}: this checkpoint is damaged: its format is {content.get('format')!r}")
        return content

    def save(self, about: Mapping[str, Any], tensors: Mapping[str, Tensor], step: int) -> None:
        """Write a checkpoint, and remove those before it.

        Args:
            about: JSON data.
            tensors: by name; of a tensor in shards each process writes its own.
            step: of the run, which names the folder.

        """
        name = f"{SHARDS_FILE.removesuffix('.json')}.{step:09}"
        if self.ranks.leads:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        self.ranks.wait()
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        writer = HuggingFaceStorageWriter(str(self.folder / name), save_distributed=True)
        save(_with_dimensions(tensors), storage_writer=writer, no_dist=not self.ranks.together)
        self.ranks.wait()
        if self.ranks.leads:
            write_json(self.file, {"format": FORMAT, "shards": name, **about})
            self._remove_all_but(name)

    def names(self) -> set[str]:
        """Return the names of the tensors of the last checkpoint.

        Raises:
            DamagedError: a shard cannot be read.

        """
        with self._reading() as reader:
            return set(reader.read_metadata().state_dict_metadata)

    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill tensors from the last checkpoint, each as it is spread over the processes here.

        Raises:
            DamagedError: a shard is missing or cannot be read.

        """
        from torch.distributed.checkpoint.state_dict_loader import load

        with self._reading() as reader:
            load(_with_dimensions(tensors), storage_reader=reader, no_dist=not self.ranks.together)

    def remove(self) -> None:
        """Remove all: something newer holds the run."""
        self.file.unlink(missing_ok=True)
        self._remove_all_but(None)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[HuggingFaceStorageReader]:
        from torch.distributed.checkpoint.api import CheckpointException
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

        about = self.about()
        assert about is not None
        try:
            yield HuggingFaceStorageReader(str(self.folder / about["shards"]))
        except (SafetensorError, OSError, CheckpointException) as error:
            told = str(error).strip().partition("\n")[0]
            raise DamagedError(f"{self.file}: this checkpoint is damaged: {told}") from None

    def _remove_all_but(self, kept: str | None) -> None:
        for old in self.folder.glob(f"{SHARDS_FILE.removesuffix('.json')}.*/"):
            if old.name != kept:
                shutil.rmtree(old, ignore_errors=True)


def _with_dimensions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, single numbers as views of one element: slices have no place for less."""
    return {name: tensor.detach().view(1) if tensor.ndim == 0 else tensor.detach() for name, tensor in tensors.items()}
