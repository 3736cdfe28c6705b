"""The text of a run: its corpus named, and packed, with errors that say where in the run's configuration they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deepsight.data.packing import PackedCorpus, pack, pack_with_progress
from deepsight.errors import UserError
from deepsight.plug_ins import corpora

if TYPE_CHECKING:
    from deepsight.config import DataConfig


def fingerprint_of(data: DataConfig) -> str:
    """Return the fingerprint of a run's corpus.

    Raises:
        UserError: the corpus is not there.

    """
    with _placed():
        return corpora.build(data.corpus_spec()).fingerprint()


def pack_for(data: DataConfig, *, show: bool = True) -> PackedCorpus:
    """Return the packed corpus of a run.

    Args:
        data: of the run.
        show: with a bar on a terminal while it is made, and on all cores; else quietly on one.

    Raises:
        UserError: the corpus cannot be read, or is too small for its tokenizer or its validation split.

    """
    with _placed():
        arguments = (data.corpus_spec(), data.tokenizer, data.validation_fraction)
        return pack_with_progress(*arguments) if show else pack(*arguments, workers=1)


@contextmanager
def _placed() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise (error.within("data", "corpus") if error.path else error.within("data")) from None
