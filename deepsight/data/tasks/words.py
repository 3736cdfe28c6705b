"""The tokens of a task as a tokenizer: each word is one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepsight.data.tokenizers import Tokenizer
from deepsight.errors import UserError, suggestion

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NAME = "words"


class Words(Tokenizer):
    """Words with spaces between them; there is no end of text, and `end_of_text` is no id."""

    name = NAME
    end_of_text = -1

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.vocabulary = len(self.words)
        self._ids = {word: id_ for id_, word in enumerate(self.words)}

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """Return the ids of a text's words, (words,).

        Raises:
            UserError: a word is none of the task's.

        """
        import numpy as np

        unknown = next((word for word in text.split() if word not in self._ids), None)
        if unknown is not None:
            raise UserError(f"the task has no word {unknown!r}{suggestion(unknown, self.words)}")
        return np.array([self._ids[word] for word in text.split()], dtype=np.uint32)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the words with spaces between them."""
        return " ".join(self.words[id_] for id_ in ids).encode("utf-8")

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return zeros, (vocabulary,): these tokens stand for no text."""
        import numpy as np

        return np.zeros(self.vocabulary, dtype=np.int32)

    def _content(self) -> dict[str, Any]:
        return {"kind": NAME, "words": list(self.words)}


def restore(record: Mapping[str, Any]) -> Words:
    """Return what `Words.save` wrote."""
    return Words(record["words"])
