"""What a run learns from: named, and made ready, with errors that say where in the run's configuration they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepsight.data.packed import open_packed
from deepsight.data.packing import PackedCorpus, pack, pack_with_progress
from deepsight.errors import UserError
from deepsight.plug_ins import corpora

if TYPE_CHECKING:
    from deepsight.data.config import DataConfig
    from deepsight.data.source import Source


def fingerprint_of(data: DataConfig) -> str:
    """Return the fingerprint of a run's corpus, or of its task.

    Raises:
        UserError: the corpus is not there.

    """
    if (task := data.task_spec()) is not None:
        from deepsight.data.tasks.source import fingerprint

        return fingerprint(task)
    with _placed():
        return corpora.build(data.corpus_spec()).fingerprint()


def pack_for(data: DataConfig, *, show: bool = True) -> PackedCorpus | None:
    """Return the packed corpus of a run; None where it learns a task, of which nothing is stored.

    Args:
        data: of the run.
        show: with a bar on a terminal while it is made, and on all cores; else quietly on one.

    Raises:
        UserError: the corpus cannot be read, or is too small for its tokenizer or its validation split.

    """
    if data.tokenizer is None or data.validation_fraction is None:
        return None
    with _placed():
        arguments = (data.corpus_spec(), data.tokenizer, data.validation_fraction)
        return pack_with_progress(*arguments) if show else pack(*arguments, workers=1)


def source_for(data: DataConfig, packed: Path | None = None, *, show: bool = True) -> Source:
    """Return what a run learns from.

    Args:
        data: of the run.
        packed: the folder of its packed corpus, where it is known to be.
        show: as for `pack_for`.

    Raises:
        UserError: as for `pack_for`; or the task cannot be made.

    """
    from deepsight.data.tasks.source import TaskSource
    from deepsight.data.text import TextSource

    if (task := data.task_spec()) is not None:
        return TaskSource(task)
    corpus = open_packed(packed) if packed is not None and packed.is_dir() else pack_for(data, show=show)
    assert corpus is not None, "text is packed"
    return TextSource(corpus)


@contextmanager
def _placed() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise (error.within("data", "corpus") if error.path else error.within("data")) from None
