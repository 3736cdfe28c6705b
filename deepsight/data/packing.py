"""Packed corpora in the cache: each is made once, appears whole or not at all, and is found again by what it is."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from deepsight.data.packed import RECORD, PackedCorpus, open_packed
from deepsight.data.splits import division_at
from deepsight.data.tokenizers import vocabulary_of
from deepsight.data.writing import Progress, write_packed
from deepsight.errors import UserError
from deepsight.files import cache_folder, digest_of_json
from deepsight.machine import usable_cores
from deepsight.plug_ins import corpora
from deepsight.registry import Spec

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PackedCorpus", "is_packed", "open_packed", "pack", "pack_with_progress", "packed_key"]

SCHEMA = 1
"""Raised when an equal corpus would be packed otherwise."""

_TEMPORARY = ".tmp"


def pack(
    corpus: Spec | str,
    tokenizer: str,
    validation_fraction: float,
    *,
    workers: int | None = None,
    on_progress: Progress = lambda documents, bytes_: None,
) -> PackedCorpus:
    """Return the packed corpus, making it if it is not in the cache (`deepsight.files.cache_folder`) yet.

    The content does not depend on `workers`. Processes that ask for the same corpus at once make it once: one works,
    the others wait for it. What a killed process left behind is removed.

    Args:
        corpus: a specification, such as ``pydocs`` or ``{"name": "files", "path": "texts"}``.
        tokenizer: ``gpt2``, ``bytes``, or ``bpe:N``, which is trained on the training split (its first 50 MB).
        validation_fraction: share of the documents held out; a hash of a document's name decides. Where that leaves a
            split of a small corpus empty, it gets the one document whose hash is nearest.
        workers: threads that tokenise, and processes that find documents; the usable cores when None.
        on_progress: called now and then with the documents and the bytes of text done so far.

    Raises:
        UserError: corpus, tokenizer or fraction are not valid, the corpus cannot be read or has fewer than two
            documents, or the cache folder cannot be written.

    """
    spec = corpora.resolve(corpus)
    source = corpora.build(spec)
    fingerprint = source.fingerprint()
    folder = _packed_folder() / _key(spec, fingerprint, tokenizer, validation_fraction)
    if _is_packed(folder):
        return open_packed(folder)
    with _sole_maker(folder):
        if not _is_packed(folder):
            with _appearing_whole(folder) as temporary:
                write_packed(
                    temporary,
                    source,
                    spec,
                    fingerprint,
                    tokenizer,
                    validation_fraction,
                    workers=workers or usable_cores(),
                    on_progress=on_progress,
                )
    return open_packed(folder)


def pack_with_progress(
    corpus: Spec | str,
    tokenizer: str,
    validation_fraction: float,
    *,
    workers: int | None = None,
    console: Console | None = None,
) -> PackedCorpus:
    """Return the packed corpus as `pack` does, with a bar on `console` (standard error, if None) while it is made.

    Nothing is shown where the corpus is packed already, or where the console is no terminal.
    """
    from rich.console import Console

    from deepsight.data.progress import packing_bar

    console = console or Console(stderr=True)
    if not console.is_terminal or is_packed(corpus, tokenizer, validation_fraction):
        return pack(corpus, tokenizer, validation_fraction, workers=workers)
    spec = corpora.resolve(corpus)
    with packing_bar(f"{spec['name']} for {tokenizer}", corpora.build(spec).approximate_bytes(), console) as show:
        return pack(spec, tokenizer, validation_fraction, workers=workers, on_progress=show)


def packed_key(corpus: Spec | str, tokenizer: str, validation_fraction: float) -> str:
    """Return the SHA-256 (64 hexadecimal digits) under which `pack` keeps these tokens, without making them.

    Raises:
        UserError: corpus, tokenizer or fraction are not valid, or the corpus is not there.

    """
    spec = corpora.resolve(corpus)
    return _key(spec, corpora.build(spec).fingerprint(), tokenizer, validation_fraction)


def is_packed(corpus: Spec | str, tokenizer: str, validation_fraction: float) -> bool:
    """Return whether `pack` would find these tokens in the cache."""
    return _is_packed(_packed_folder() / packed_key(corpus, tokenizer, validation_fraction))


def _key(spec: Spec, fingerprint: str, tokenizer: str, validation_fraction: float) -> str:
    vocabulary_of(tokenizer)
    division_at(validation_fraction)
    return digest_of_json(
        {
            "schema": SCHEMA,
            "corpus": spec,
            "fingerprint": fingerprint,
            "tokenizer": tokenizer,
            "validation_fraction": float(validation_fraction),
        }
    )


def _packed_folder() -> Path:
    return cache_folder() / "packed"


def _is_packed(folder: Path) -> bool:
    return (folder / RECORD).is_file()


@contextlib.contextmanager
def _sole_maker(folder: Path) -> Iterator[None]:
    """Hold the lock on a key; the kernel frees it when this process ends, however it ends."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_lock_of(folder))
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"the cache folder {cache_folder()} cannot be written ({error.strerror}); name another in DEEPSIGHT_CACHE"
        ) from None
    try:
        _remove_leftovers(folder.parent, mine=folder.name)
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_TEMPORARY, dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # damaged: what is whole has a record and was found before
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(parent: Path, *, mine: str) -> None:
    """Remove the temporary folders of dead processes: those whose lock this process holds (`mine`) or can take."""
    for leftover in parent.glob(f".*{_TEMPORARY}"):
        key = leftover.name[1:].partition(".")[0]
        if key == mine:
            shutil.rmtree(leftover, ignore_errors=True)
            continue
        with contextlib.suppress(Timeout, OSError), FileLock(_lock_of(parent / key), timeout=0):
            shutil.rmtree(leftover, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")
