"""A digest of files' contents that reads big files once, and remembers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from deepsight.files import cache_folder, digest_of_file, digest_of_json, read_json, write_json

SETTLED_SECONDS = 2.0
"""A file changed more recently than this could change again without a new time stamp, so it is not remembered."""


def digest_of_contents(root: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256 of the contents of `files` and of their places below `root`, in the order given.

    Where `root` is itself the file, its name does not count (its ending does): a renamed file is the same corpus. The
    digest is remembered in the cache folder under the files' sizes and times, so that asking again reads none of them.
    """
    paths = list(files)
    stats = [path.stat() for path in paths]
    looks = [
        [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]
        for path, stat in zip(paths, stats, strict=True)
    ]
    memory = cache_folder() / "fingerprints" / f"{digest_of_json([str(root.resolve()), looks])}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(read_json(memory)["digest"])
    digest = digest_of_json([[place_below(root, path) or path.suffix, digest_of_file(path)] for path in paths])
    if all(time.time() - stat.st_mtime > SETTLED_SECONDS for stat in stats):
        with contextlib.suppress(OSError):
            write_json(memory, {"digest": digest})
    return digest


def place_below(root: Path, path: Path) -> str:
    """Return where `path` lies below `root`, with forward slashes; an empty string where they are the same."""
    return "" if path == root else path.relative_to(root).as_posix()
