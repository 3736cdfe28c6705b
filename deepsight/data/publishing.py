"""A packed corpus as a dataset of the `datasets` library, and what there is to say of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepsight.data.counts import token_counts
from deepsight.data.packed import PackedCorpus
from deepsight.data.splits import SPLITS, Split
from deepsight.errors import UserError
from deepsight.files import new_folder

if TYPE_CHECKING:
    from datasets import DatasetDict

FREQUENT = 10
"""Tokens that are shown as the most frequent ones."""


@dataclass(frozen=True)
class Look:
    """What a split looks like.

    Attributes:
        documents, bytes, tokens: how much there is; each document ends with one end of text, which counts.
        lengths: tokens of a document: the shortest, the quartiles, and the longest.

    """

    documents: int
    bytes: int
    tokens: int
    lengths: tuple[int, int, int, int, int]


def look(corpus: PackedCorpus, split: Split) -> Look:
    """Return the statistics of a split."""
    sizes = getattr(corpus.statistics, split)
    lengths = np.diff(_ends(corpus, split), prepend=-1)
    quartiles = np.percentile(lengths, [0, 25, 50, 75, 100]).round().astype(int).tolist()
    return Look(sizes.documents, sizes.bytes, sizes.tokens, tuple(quartiles))


def frequent_tokens(corpus: PackedCorpus) -> tuple[list[tuple[str, float]], int]:
    """Return the most frequent tokens of the training split with their shares, and how many different ones it has."""
    counts = token_counts(corpus).numpy()
    order = np.argsort(-counts, kind="stable")[:FREQUENT]
    tokenizer, total = corpus.tokenizer(), counts.sum()
    named = [("end of text" if one == corpus.end_of_text else tokenizer.decode([int(one)]), int(one)) for one in order]
    return [(text, float(counts[token] / total)) for text, token in named if counts[token]], int((counts > 0).sum())


def as_dataset(corpus: PackedCorpus, workspace: Path) -> DatasetDict:
    """Return the corpus as a dataset: `train` and `validation`, a row a document, with its `text` and its `tokens`.

    Rows are in the packed order, and tokens are without the end of text.

    Args:
        corpus: the packed corpus.
        workspace: a folder in which the dataset is made, document by document; it lives as long as this.

    """
    from datasets import DatasetDict, Features, Sequence, Value

    kind = corpus.record.token_type
    features = Features({"text": Value("string"), "tokens": Sequence(Value(kind))})
    return DatasetDict({split: _split_of(corpus, split, features, workspace) for split in SPLITS})


def write_dataset(corpus: PackedCorpus, folder: Path) -> None:
    """Write the dataset into a new folder, with a card that tells what it is; `load_from_disk` reads it.

    Raises:
        UserError: the folder is not empty.

    """
    with new_folder(folder) as unfinished, tempfile.TemporaryDirectory(dir=folder.parent) as workspace:
        as_dataset(corpus, Path(workspace)).save_to_disk(unfinished)
        (unfinished / "README.md").write_text(card(corpus), encoding="utf-8")


def push_dataset(corpus: PackedCorpus, repository: str, *, private: bool) -> str:
    """Upload the dataset to the Hugging Face Hub, with its card, and return its address.

    Args:
        corpus: the packed corpus.
        repository: ``user/name``.
        private: whether others may see it.

    Raises:
        UserError: the Hub cannot be reached, or refuses.

    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with tempfile.TemporaryDirectory() as workspace:
            as_dataset(corpus, Path(workspace)).push_to_hub(repository, private=private)
        HfApi().upload_file(
            path_or_fileobj=card(corpus).encode(), path_in_repo="README.md", repo_id=repository, repo_type="dataset"
        )
    except (OSError, HfHubHTTPError, ValueError) as error:
        told = str(error).strip().partition("\n")[0]
        raise UserError(f"{repository}: the Hub does not take it: {told}") from None
    return f"https://huggingface.co/datasets/{repository}"


def card(corpus: PackedCorpus) -> str:
    """Return what a person should know of the dataset, in Markdown."""
    record = corpus.record
    rows = "\n".join(
        f"| {split} | {found.documents:,} | {found.bytes:,} | {found.tokens:,} | {found.lengths[2]:,} |"
        for split in SPLITS
        for found in [look(corpus, split)]
    )
    return (
        f"# {record.corpus['name']}, packed for {record.tokenizer}\n\n"
        f"Made by DeepSight from `{dict(record.corpus)}`; a hash of a document's name decides its split. A row is a "
        f"document: its `text`, and its `tokens` without the end of text ({record.end_of_text}).\n\n"
        "| split | documents | bytes | tokens | tokens of the median document |\n| :--- | ---: | ---: | ---: | ---: |\n"
        f"{rows}\n\nVocabulary: {record.vocabulary:,}. SHA-256 of the tokens: `{record.digest}`.\n"
    )


def _split_of(corpus: PackedCorpus, split: Split, features: Any, workspace: Path) -> Any:
    from datasets import Dataset, NamedSplit

    def rows() -> Iterator[dict[str, Any]]:
        tokens, tokenizer, start = getattr(corpus, split), corpus.tokenizer(), 0
        for end in _ends(corpus, split).tolist():
            document = tokens[start:end].tolist()
            yield {"text": tokenizer.decode(document), "tokens": document}
            start = end + 1

    # The fingerprint stands for the content: the library would otherwise try to make one of the function.
    name = f"{corpus.digest[:32]}-{split}"
    return Dataset.from_generator(
        rows, features=features, split=NamedSplit(split), fingerprint=name, cache_dir=str(workspace)
    )


def _ends(corpus: PackedCorpus, split: Split) -> npt.NDArray[np.int64]:
    """Return where each document's end of text stands."""
    return np.flatnonzero(np.asarray(getattr(corpus, split)) == corpus.end_of_text)
