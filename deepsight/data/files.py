"""A corpus from files on this machine: plain text, JSON lines, Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from deepsight.data.corpora import Corpus, Document
from deepsight.data.fingerprints import digest_of_contents, place_below
from deepsight.data.plain_text import Cut, articles, best_cut, lines, passages, whole
from deepsight.errors import UserError, suggestion
from deepsight.files import digest_of_json

SCHEMA = 1
"""Raised when equal files would give other documents."""

PARQUET_ROWS = 256
"""Rows of a Parquet file that are held in memory at once."""


class Files(Corpus):
    """A text, JSON-lines or Parquet file, or a folder of such files.

    A folder is read with all its subfolders, in the order of the files' paths; hidden files and other endings are left
    alone. Documents without any visible character are left out. A line of JSON and a row of Parquet is a document. What
    is a document in a text file, `documents` says:

    - ``article``: from one WikiText heading (`` = Title = ``) to the next;
    - ``file``: the whole file;
    - ``passage``: some 4,096 characters, cut at a blank line where there is one;
    - ``line``: each line;
    - ``auto``: articles where the file begins with a heading; else passages where the file is the only one or larger
      than 1 MiB, so that it can be divided between training and validation; else the whole file.
    """

    advice = "for example with documents: passage or documents: line"

    def __init__(
        self,
        path: str,
        text_column: str = "text",
        documents: Literal["auto", "article", "file", "passage", "line"] = "auto",
    ) -> None:
        """Find the files.

        Args:
            path: a file that ends with .txt, .jsonl or .parquet, or a folder of such files.
            text_column: where JSON lines and Parquet rows keep their text.
            documents: how a text file is cut into documents.

        Raises:
            UserError: nothing readable is there.

        """
        self._root = Path(path).expanduser()
        self._files = _files_at(self._root)
        self._text_column = text_column
        self._cut: Cut | Literal["auto"] = documents

    def documents(self) -> Iterator[Document]:
        """Yield the documents of each file in turn; names are places below `path`, not the place of `path`."""
        for path in self._files:
            place = place_below(self._root, path)
            for name, text in _READERS[path.suffix.lower()](self, path):
                if text.strip():
                    yield Document(f"{place}:{name}", text)

    def fingerprint(self) -> str:
        """Return a digest of the files' contents, and of what this corpus takes from them."""
        contents = digest_of_contents(self._root, self._files)
        return digest_of_json({"schema": SCHEMA, "files": contents, "column": self._text_column, "cut": self._cut})

    def approximate_bytes(self) -> int | None:
        """Return the files' sizes, but nothing where some are compressed."""
        if any(path.suffix.lower() == ".parquet" for path in self._files):
            return None
        return sum(path.stat().st_size for path in self._files)

    def _plain_text(self, path: Path) -> Iterator[tuple[str, str]]:
        cut = best_cut(path, only=len(self._files) == 1) if self._cut == "auto" else self._cut
        cutters = {"article": articles, "file": whole, "passage": passages, "line": lines}
        return cutters[cut](path)

    def _json_lines(self, path: Path) -> Iterator[tuple[str, str]]:
        for number, line in lines(path):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{where}: this line is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise UserError(f"{where}: a line must hold an object with the key {self._text_column!r}")
            yield number, text_of(row, self._text_column, where)

    def _parquet(self, path: Path) -> Iterator[tuple[str, str]]:
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(path) as table:
                if self._text_column not in table.schema_arrow.names:
                    raise _no_column(self._text_column, table.schema_arrow.names, str(path))
                number = 0
                for batch in table.iter_batches(batch_size=PARQUET_ROWS, columns=[self._text_column]):
                    for row in batch.to_pylist():
                        number += 1
                        yield str(number), text_of(row, self._text_column, f"{path}: row {number}")
        except pyarrow.ArrowInvalid as error:
            raise UserError(f"{path}: this is not a Parquet file: {str(error).splitlines()[0]}") from None


_READERS: dict[str, Callable[[Files, Path], Iterator[tuple[str, str]]]] = {
    ".txt": Files._plain_text,
    ".jsonl": Files._json_lines,
    ".parquet": Files._parquet,
}


def text_of(row: dict[str, Any], column: str, where: str) -> str:
    """Return the text that a row has in `column`; an empty text where it is null.

    Raises:
        UserError: there is no such column, or it holds no text; the message begins with `where`.

    """
    if column not in row:
        raise _no_column(column, row, where)
    text = row[column]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: the column {column!r} must hold text, not {type(text).__name__}")
    return text or ""


def _no_column(column: str, known: Any, where: str) -> UserError:
    return UserError(f"{where}: there is no column {column!r}{suggestion(column, map(str, known))}")


def _files_at(root: Path) -> list[Path]:
    kinds = ", ".join(_READERS)
    if root.is_file():
        if root.suffix.lower() not in _READERS:
            raise UserError(f"{str(root)!r} is no file that can be read as text; known endings: {kinds}", ("path",))
        return [root]
    if not root.is_dir():
        raise UserError(f"there is no file or folder {str(root)!r}{_nearest(root)}", ("path",))
    visible = sorted(_visible_files(root), key=Path.as_posix)
    if not visible:
        raise UserError(f"the folder {str(root)!r} holds no file that ends with {kinds}", ("path",))
    return visible


def _visible_files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder that can be read and are not hidden, nor in a hidden folder."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in _READERS and path.is_file():
                yield path


def _nearest(path: Path) -> str:
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, beside, n=1, cutoff=0.5)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
