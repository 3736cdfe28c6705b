"""What a corpus is: documents in a fixed order, and a fingerprint that names their content."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Document:
    """One text that is never cut between training and validation.

    Attributes:
        name: its identity; a hash of it decides which split the document belongs to.
        text: what is tokenised; lone surrogates, which UTF-8 cannot write, become question marks.

    """

    name: str
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", well_formed(self.text))


class Corpus(ABC):
    """A source of documents.

    A corpus of your own derives from this class and is registered with ``@corpora.register("name")``
    (`deepsight.plug_ins.corpora`); its typed constructor parameters are what a configuration may give.
    """

    advice: ClassVar[str] = ""
    """How a person can get more or smaller documents from this corpus; ends the message about an empty split."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yield every document, always in the same order, holding few of them in memory.

        Raises:
            UserError: the source cannot be read; the message names the file and line where there are such.

        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a SHA-256 (64 hexadecimal digits) of the content, cheaply: equal content, equal fingerprint.

        It is part of a trial's identity, so it is asked for often.
        """

    def documents_in_parallel(self, workers: int) -> Iterator[Document]:
        """Yield what `documents` yields, in the same order, with up to `workers` processes to find it.

        Worth overriding only where finding the documents costs more than reading them.
        """
        return self.documents()

    def approximate_bytes(self) -> int | None:
        """Return about how many bytes of text there are, if that is known beforehand; for a progress bar only."""
        return None


def well_formed(text: str) -> str:
    """Return `text` with each lone surrogate replaced by a question mark, so that UTF-8 can write it."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")
