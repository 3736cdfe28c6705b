"""Tokenizers by name: ``gpt2``, ``bytes``, and ``bpe:N``, which is trained on the text that it will read.

Light to import: what a tokenizer needs is loaded when one is made.
"""

from __future__ import annotations

import difflib
import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepsight.data.corpora import well_formed
from deepsight.errors import UserError
from deepsight.files import digest_of_json, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

END_OF_TEXT = "<|endoftext|>"
"""How the end of a text is shown when it is decoded; the same characters inside a text are ordinary text."""

SMALLEST_BPE = 257
"""256 bytes and the end of text."""

LARGEST_BPE = 1_000_000

_FIXED = {"bytes": 257, "gpt2": 50257}
_KNOWN = "known: bpe:N, bytes, gpt2"


def vocabulary_of(name: str) -> int:
    """Return the number of token ids of a tokenizer, end of text included, without loading it.

    Raises:
        UserError: there is no such tokenizer; the message gives the nearest one.

    """
    if name in _FIXED:
        return _FIXED[name]
    trained = re.fullmatch(r"bpe:([1-9][0-9]*)", name)
    if trained is None:
        raise UserError(f"unknown tokenizer {name!r}{_nearest(name)} {_KNOWN}")
    size = int(trained.group(1))
    if not SMALLEST_BPE <= size <= LARGEST_BPE:
        nearest = min(max(size, SMALLEST_BPE), LARGEST_BPE)
        raise UserError(
            f"the tokenizer {name!r} cannot be: bpe:N has from {SMALLEST_BPE} ids (256 bytes and the end of text) "
            f"to {LARGEST_BPE}; nearest: bpe:{nearest}"
        )
    return size


def end_of_text_of(name: str) -> int:
    """Return the id that ends each document, without loading the tokenizer: the last one, in all of them."""
    return vocabulary_of(name) - 1


def is_trained(name: str) -> bool:
    """Return whether a tokenizer is trained on a corpus, so that a name alone does not make it."""
    return name.startswith("bpe:")


def fixed_tokenizer(name: str) -> Tokenizer:
    """Return a tokenizer that needs no training: ``gpt2`` or ``bytes``.

    Raises:
        UserError: the name is unknown or that of a trained tokenizer, or the files that carry GPT-2's are damaged.

    """
    from deepsight.data import byte_pairs

    vocabulary_of(name)
    if is_trained(name):
        raise UserError(f"the tokenizer {name!r} is trained on a corpus: take it from a packed corpus, or from a run")
    return Bytes() if name == "bytes" else byte_pairs.gpt2()


def train_tokenizer(name: str, texts: Iterable[str]) -> Tokenizer:
    """Return ``bpe:N`` with exactly N ids, trained on `texts`; the same texts give the same tokenizer.

    Raises:
        UserError: the texts are too few for N ids; the message says how many they give.

    """
    from deepsight.data import byte_pairs

    return byte_pairs.train(name, vocabulary_of(name), texts)


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer that `Tokenizer.save` wrote to a file.

    Raises:
        UserError: the file is missing or is none of ours.

    """
    try:
        record = read_json(path)
        name, digest = record["name"], record["digest"]
        loaded = _restored(name, record)
    except UserError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: this is no saved tokenizer ({error})") from None
    if loaded.digest != digest:
        raise UserError(f"{path}: the saved tokenizer is damaged: its digest is not the one that it was saved with")
    return loaded


def _restored(name: str, record: dict[str, Any]) -> Tokenizer:
    from deepsight.data import byte_pairs
    from deepsight.data.tasks import words

    if name == words.NAME:
        return words.restore(record)
    return byte_pairs.restore(record) if is_trained(name) else fixed_tokenizer(name)


class Tokenizer(ABC):
    """Text to ids and back; decoding what was encoded gives the same text.

    Attributes:
        name: as a configuration writes it.
        vocabulary: number of ids, end of text included.
        end_of_text: the id that follows every document.

    """

    name: str
    vocabulary: int
    end_of_text: int

    @abstractmethod
    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the ids of `text`, (tokens,); threads may call this at once."""

    @abstractmethod
    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that `ids` stand for."""

    @abstractmethod
    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return the number of bytes each id stands for, (vocabulary,); 0 for the end of text."""

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """Return all that tells this tokenizer from another, as JSON."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; what looks like a special token is ordinary text."""
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that `ids` stand for; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (64 hexadecimal digits): equal for tokenizers that encode equally."""
        return digest_of_json(self._content())

    def save(self, path: Path) -> None:
        """Write the tokenizer as JSON, for `load_tokenizer`."""
        content = {} if self.name in _FIXED else self._content()
        write_json(path, {"name": self.name, "digest": self.digest, **content})


class Bytes(Tokenizer):
    """The 256 bytes of UTF-8, and the end of text."""

    name = "bytes"
    vocabulary = 257
    end_of_text = 256

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the UTF-8 bytes of `text`, (bytes,)."""
        import numpy as np

        return np.frombuffer(well_formed(text).encode("utf-8"), dtype=np.uint8).astype(np.uint32)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes themselves."""
        return b"".join(END_OF_TEXT.encode() if id_ == self.end_of_text else bytes([id_]) for id_ in ids)

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return ones, and 0 for the end of text, (257,)."""
        import numpy as np

        sizes = np.ones(self.vocabulary, dtype=np.int32)
        sizes[self.end_of_text] = 0
        return sizes

    def _content(self) -> dict[str, Any]:
        return {"kind": "bytes"}


def _nearest(name: str) -> str:
    lowered = name.lower()
    if "bpe" in lowered:
        digits = re.search(r"[0-9]+", lowered)
        size = min(max(int(digits.group()), SMALLEST_BPE), LARGEST_BPE) if digits else 2048
        return f"; did you mean 'bpe:{size}'?"
    near = difflib.get_close_matches(lowered, _FIXED, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ";"
