"""Files that appear whole or not at all, and the digests that name them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepsight.errors import UserError

TEMPORARY = ".tmp"
"""How the names of files end that are not whole yet."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path` in one step, otherwise it is removed.

    The file is flushed to disk before the rename and the folder after it: a crash leaves the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = _held_temporary(path)
    try:
        yield temporary
        temporary.chmod(0o644)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _held_temporary(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside `path` and hold it, so that nobody takes it for what a dead process left."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # removed between the two lines above


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` in one step when the block ends well, and is removed otherwise.

    Raises:
        UserError: `folder` is there and is not empty.

    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: this is not empty; choose a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        unfinished = Path(name) / folder.name
        unfinished.mkdir()
        yield unfinished
        unfinished.replace(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: indented, keys in the order given, no NaN."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest_of_json(value: Any) -> str:
    """SHA-256 (64 hexadecimal digits) of a value's canonical JSON: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 (64 hexadecimal digits) of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where packed corpora and trained tokenizers are kept.

    `DEEPSIGHT_CACHE` if it is set, else `deepsight` in the user's cache folder (`XDG_CACHE_HOME`, `~/.cache`).
    """
    named = os.environ.get("DEEPSIGHT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepsight"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that dead processes left in `folder`; those being written are left alone."""
    for leftover in Path(folder).glob(f".*{TEMPORARY}"):
        with contextlib.suppress(OSError), leftover.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
