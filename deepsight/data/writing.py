"""A packed corpus is written into an empty folder; only the caller makes the folder known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from deepsight.data.corpora import Corpus, Document
from deepsight.data.packed import (
    RECORD,
    TOKEN_BYTES,
    TOKENIZER,
    Record,
    SplitStatistics,
    Statistics,
    file_of,
    token_type,
)
from deepsight.data.splits import SPLITS, Division, Ranks, Split, division_at
from deepsight.data.tokenising import Encoded, encode, tokenizer_for
from deepsight.data.tokenizers import Tokenizer
from deepsight.errors import UserError
from deepsight.files import atomic_path, write_json
from deepsight.registry import Spec

Progress = Callable[[int, int], None]
"""Told how many documents, and how many bytes of text, are done so far."""


def write_packed(
    folder: Path,
    corpus: Corpus,
    spec: Spec,
    fingerprint: str,
    tokenizer_name: str,
    validation_fraction: float,
    *,
    workers: int,
    on_progress: Progress,
) -> None:
    """Write the tokens of both splits, the tokenizer and the record into `folder`, which exists and is empty.

    Raises:
        UserError: the corpus cannot be read, has fewer than two documents, or is too short for the tokenizer.

    """
    ranks = Ranks()

    def write(division: Division) -> Written:
        documents = ranks.watch(corpus.documents_in_parallel(workers))
        return _write_splits(folder, documents, tokenizer_name, division, workers, on_progress)

    written = write(division_at(validation_fraction))
    if (empty := written.empty()) and (other := ranks.other_division(empty)):
        written = write(other)
    if written.empty():
        raise _too_few(written, spec, corpus.advice)
    tokenizer = written.tokenizer
    tokenizer.save(folder / TOKENIZER)
    with atomic_path(folder / TOKEN_BYTES) as temporary, temporary.open("wb") as file:
        np.save(file, tokenizer.token_bytes(), allow_pickle=False)
    record = Record(
        corpus=spec,
        fingerprint=fingerprint,
        tokenizer=tokenizer_name,
        tokenizer_digest=tokenizer.digest,
        validation_fraction=validation_fraction,
        vocabulary=tokenizer.vocabulary,
        end_of_text=tokenizer.end_of_text,
        token_type="uint16" if token_type(tokenizer.vocabulary).itemsize == 2 else "uint32",
        statistics=Statistics(
            train=written.files["train"].statistics(), validation=written.files["validation"].statistics()
        ),
        digest=written.digest(),
    )
    write_json(folder / RECORD, record.model_dump(mode="json"))


@dataclass(frozen=True)
class Written:
    """The tokens of both splits on disk, and the tokenizer that made them."""

    files: dict[Split, SplitFile]
    tokenizer: Tokenizer

    def empty(self) -> Split | None:
        """Return the split without documents, if there is one."""
        return next((split for split in SPLITS if self.files[split].documents == 0), None)

    def digest(self) -> str:
        """SHA-256 of the tokens of both splits, their type, and the tokenizer's digest."""
        contents = [self.files[split].hexdigest() for split in SPLITS]
        kind = str(token_type(self.tokenizer.vocabulary).itemsize)
        return hashlib.sha256("\n".join([*contents, kind, self.tokenizer.digest]).encode()).hexdigest()


def _write_splits(
    folder: Path,
    documents: Iterator[Document],
    tokenizer_name: str,
    division: Division,
    workers: int,
    on_progress: Progress,
) -> Written:
    tokenizer, documents = tokenizer_for(tokenizer_name, documents, division)
    with SplitFile(folder / file_of("train")) as train, SplitFile(folder / file_of("validation")) as validation:
        files: dict[Split, SplitFile] = {"train": train, "validation": validation}
        for encoded in encode(documents, tokenizer, division, workers):
            for split in SPLITS:
                files[split].append(encoded[split])
            on_progress(train.documents + validation.documents, train.bytes + validation.bytes)
    return Written(files, tokenizer)


def _too_few(written: Written, spec: Spec, advice: str) -> UserError:
    where = f"the corpus {spec['name']!r}"
    total = sum(file.documents for file in written.files.values())
    if total == 0:
        return UserError(f"{where} has no text: not one document with a visible character")
    amount = "a single document" if total == 1 else f"{total} documents of one name"
    more = f", {advice}" if advice else ""
    return UserError(
        f"{where} has {amount}, which leaves nothing for the {written.empty()} split: a document is never cut between "
        f"training and validation; give more documents{more}"
    )


class SplitFile:
    """The tokens of one split, appended to a file that is on the disk when the block ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self.documents = 0
        self.bytes = 0
        self.tokens = 0

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())

    def append(self, encoded: Encoded) -> None:
        """Write the tokens of further documents."""
        content = encoded.tokens.tobytes()
        self._file.write(content)
        self._digest.update(content)
        self.documents += encoded.documents
        self.bytes += encoded.bytes
        self.tokens += len(encoded.tokens)

    def statistics(self) -> SplitStatistics:
        """Return the sizes so far."""
        return SplitStatistics(documents=self.documents, bytes=self.bytes, tokens=self.tokens)

    def hexdigest(self) -> str:
        """SHA-256 of the bytes written so far."""
        return self._digest.hexdigest()
