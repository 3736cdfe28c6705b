"""From documents to token ids, in order, by several threads, with few documents in memory.

Threads, not processes: tiktoken works outside the interpreter's lock, so threads use every core, and there is no copy
of the text, no second start of the caller's program, and nothing that outlives it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from deepsight.data.corpora import Document
from deepsight.data.packed import Tokens, token_type
from deepsight.data.splits import SPLITS, Division, Split
from deepsight.data.tokenizers import Tokenizer, fixed_tokenizer, is_trained, train_tokenizer

SAMPLE_BYTES = 50_000_000
"""A tokenizer is trained on the first documents of the training split that have so many bytes together."""

BATCH_CHARACTERS = 1 << 17
"""Documents go to a thread together until they have so many characters."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Encoded:
    """Documents of one split: their tokens, each document followed by the end of text, and their sizes."""

    tokens: Tokens
    documents: int
    bytes: int


def encode(
    documents: Iterable[Document], tokenizer: Tokenizer, division: Division, workers: int
) -> Iterator[dict[Split, Encoded]]:
    """Yield the documents' tokens, split and in order; the same whatever the number of `workers`."""

    def encode_batch(batch: list[Document]) -> dict[Split, Encoded]:
        return {
            split: _encode_split([one for one in batch if division.of(one.name) == split], tokenizer)
            for split in SPLITS
        }

    return _in_order(encode_batch, _batches(documents), workers)


def tokenizer_for(name: str, documents: Iterator[Document], division: Division) -> tuple[Tokenizer, Iterator[Document]]:
    """Return the tokenizer, trained first where it must be, and all the documents again.

    Training takes the documents it needs from the iterator and hands them on, so that the corpus is read once.

    Raises:
        UserError: the training split is too short for the tokenizer.

    """
    if not is_trained(name):
        return fixed_tokenizer(name), documents
    taken: deque[Document] = deque()
    trained = train_tokenizer(name, _sample(documents, division, taken))
    return trained, _handed_on(taken, documents)


def _sample(documents: Iterator[Document], division: Division, taken: deque[Document]) -> Iterator[str]:
    size = 0
    while size < SAMPLE_BYTES and (document := next(documents, None)) is not None:
        taken.append(document)
        if division.of(document.name) == "train":
            size += len(document.text.encode("utf-8"))
            yield document.text


def _handed_on(taken: deque[Document], documents: Iterator[Document]) -> Iterator[Document]:
    while taken:
        yield taken.popleft()
    yield from documents


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode_split(documents: list[Document], tokenizer: Tokenizer) -> Encoded:
    kind = token_type(tokenizer.vocabulary)
    end = np.array([tokenizer.end_of_text], dtype=kind)
    parts = [part for one in documents for part in (tokenizer.encode_array(one.text).astype(kind), end)]
    return Encoded(
        tokens=np.concatenate(parts) if parts else np.empty(0, dtype=kind),
        documents=len(documents),
        bytes=sum(len(one.text.encode("utf-8")) for one in documents),
    )


def _in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield function(item) for each item, in order, with at most a few items under way."""
    if workers == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
