"""A packed corpus: one memory-mapped array of tokens a split, and what is known of it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from deepsight.data.splits import Split
from deepsight.data.tokenizers import Tokenizer, load_tokenizer
from deepsight.errors import UserError
from deepsight.files import read_json
from deepsight.registry import Spec
from deepsight.validation import Strict, validated

Tokens: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""Token ids, (tokens,); uint16 or uint32."""


RECORD = "packed.json"
TOKENIZER = "tokenizer.json"
TOKEN_BYTES = "token_bytes.npy"


class SplitStatistics(Strict):
    """The size of a split: documents, bytes of their text in UTF-8, tokens (one end of text a document included)."""

    documents: int
    bytes: int
    tokens: int


class Statistics(Strict):
    """The size of both splits."""

    train: SplitStatistics
    validation: SplitStatistics


class Record(Strict):
    """What `packed.json` holds.

    Attributes:
        corpus: its complete specification.
        fingerprint: of the corpus.
        tokenizer: its name.
        tokenizer_digest: SHA-256 of its content.
        validation_fraction: the share of documents that was asked for.
        vocabulary: number of token ids.
        end_of_text: the id that ends each document.
        token_type: how an id is stored, little-endian.
        statistics: documents, bytes and tokens.
        digest: SHA-256 of the tokens of both splits, their type, and the tokenizer's digest.

    """

    corpus: Spec
    fingerprint: str
    tokenizer: str
    tokenizer_digest: str
    validation_fraction: float
    vocabulary: int
    end_of_text: int
    token_type: Literal["uint16", "uint32"]
    statistics: Statistics
    digest: str


class PackedCorpus:
    """Tokens on disk, opened read-only and only when they are asked for; any number of processes may share them.

    Attributes:
        folder: where it lies.
        record: what is known of it.

    """

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder = folder
        self.record = record

    @cached_property
    def train(self) -> Tokens:
        """The training split, (tokens,), read-only."""
        return self._tokens("train")

    @cached_property
    def validation(self) -> Tokens:
        """The validation split, (tokens,), read-only."""
        return self._tokens("validation")

    @cached_property
    def token_bytes(self) -> npt.NDArray[np.int32]:
        """The number of bytes of text each id stands for, (vocabulary,); 0 for the end of text."""
        sizes: npt.NDArray[np.int32] = np.load(self.folder / TOKEN_BYTES, allow_pickle=False)
        return sizes

    @property
    def vocabulary(self) -> int:
        """Number of token ids, end of text included."""
        return self.record.vocabulary

    @property
    def end_of_text(self) -> int:
        """The id that ends each document."""
        return self.record.end_of_text

    @property
    def digest(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the content: equal tokens from an equal tokenizer."""
        return self.record.digest

    @property
    def statistics(self) -> Statistics:
        """Documents, bytes and tokens of each split."""
        return self.record.statistics

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that the tokens were made with."""
        return load_tokenizer(self.folder / TOKENIZER)

    def describe(self) -> str:
        """Return the size in one line, such as "pydocs: 6,829 documents, 34.8 MB, 12,200,338 tokens (bpe:2048)…"."""
        sizes = (self.statistics.train, self.statistics.validation)
        documents, size, tokens = (
            sum(getattr(one, part) for one in sizes) for part in ("documents", "bytes", "tokens")
        )
        return (
            f"{self.record.corpus['name']}: {documents:,} documents, {size / 1e6:.1f} MB, {tokens:,} tokens "
            f"({self.record.tokenizer}), {sizes[1].documents:,} documents held out for validation"
        )

    def _tokens(self, split: Split) -> Tokens:
        path = self.folder / file_of(split)
        count = getattr(self.statistics, split).tokens
        kind = token_type(self.vocabulary)
        if not path.is_file() or path.stat().st_size != count * kind.itemsize:
            raise UserError(f"{path}: the packed tokens are damaged; delete {self.folder} to have them packed again")
        return np.memmap(path, dtype=kind, mode="r", shape=(count,))


def open_packed(folder: Path) -> PackedCorpus:
    """Return the packed corpus in a folder.

    Raises:
        UserError: there is none, or its record is damaged.

    """
    folder = Path(folder)
    try:
        record = validated(Record, read_json(folder / RECORD))
    except FileNotFoundError:
        raise UserError(f"{folder}: there is no packed corpus here") from None
    except ValueError as error:
        raise UserError(f"{folder / RECORD}: {error}; delete {folder} to have it packed again") from None
    return PackedCorpus(folder, record)


def token_type(vocabulary: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return how ids are stored: two bytes where they suffice, else four; little-endian."""
    return np.dtype("<u2") if vocabulary <= 1 << 16 else np.dtype("<u4")


def file_of(split: Split) -> str:
    """Return the name of a split's file of tokens."""
    return f"{split}.tokens"
