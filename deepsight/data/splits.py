"""Training or validation: a document belongs to one of them as a whole, and its name decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from deepsight.data.corpora import Document
from deepsight.errors import UserError
from deepsight.random_streams import derive

Split = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")

_RANKS = 2**63


@dataclass(frozen=True)
class Division:
    """Where training ends and validation begins: documents whose rank is below `threshold` are held out."""

    threshold: int

    def of(self, name: str) -> Split:
        """Return the split of the document called `name`."""
        return "validation" if rank(name) < self.threshold else "train"


@dataclass
class Ranks:
    """The smallest and the greatest rank among the documents of a corpus, noted as they pass by."""

    seen: list[int] = field(default_factory=list)

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, noting their ranks."""
        for document in documents:
            ranks = [*self.seen, rank(document.name)]
            self.seen = [min(ranks), max(ranks)]
            yield document

    def other_division(self, empty: Split) -> Division | None:
        """Return the division that gives the `empty` split the one document nearest to it; None if all are equal."""
        if len(set(self.seen)) < 2:
            return None
        smallest, greatest = self.seen
        return Division(smallest + 1 if empty == "validation" else greatest)


def division_at(validation_fraction: float) -> Division:
    """Return the division that holds out this share of the documents.

    Raises:
        UserError: the share is not between 0 and 1, both excluded.

    """
    if not 0.0 < validation_fraction < 1.0:
        raise UserError(
            f"validation_fraction must be greater than 0 and less than 1, such as 0.05, not {validation_fraction}"
        )
    return Division(int(validation_fraction * _RANKS))


def rank(name: str) -> int:
    """Return a document's place, from 0 to 2**63 - 1, drawn by its name alone: the same on every machine."""
    return derive(0, "split", name)
