"""A corpus from the `datasets` library: a name on the Hugging Face Hub, or a dataset's folder on this machine."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from deepsight.data.corpora import Corpus, Document
from deepsight.data.files import text_of
from deepsight.data.fingerprints import digest_of_contents
from deepsight.errors import UserError, suggestion
from deepsight.files import cache_folder, digest_of_json, read_json, write_json

SCHEMA = 1
"""Raised when an equal dataset would give other documents."""

PATIENCE_SECONDS = 10.0
"""How long the Hub may take to answer before it counts as out of reach."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubDataset(Corpus):
    """A dataset by name, streamed through the `datasets` library; a row is a document.

    A dataset on the Hub is held at one commit: `revision` where it is given, else the newest at the first use, which is
    then remembered in the cache folder. So all trials of a study see one text, and a packed corpus needs no network. A
    folder of the name on this machine goes first: anything that `load_dataset` reads, or what `save_to_disk` wrote.
    """

    advice = "for example with a greater limit"

    def __init__(
        self,
        dataset: str,
        config: str | None = None,
        split: str = "train",
        text_column: str = "text",
        limit: Annotated[int, Field(ge=1)] | None = None,
        revision: str | None = None,
    ) -> None:
        """Name the dataset; nothing is read yet.

        Args:
            dataset: a name on the Hub, such as ``Salesforce/wikitext``, or a folder.
            config: which of the dataset's configurations.
            split: which of its splits; it is divided again, by document, into training and validation.
            text_column: the column that holds the text.
            limit: the number of rows to take from the beginning; null for all.
            revision: a commit, branch or tag on the Hub; null for the newest.

        """
        self._dataset = dataset
        self._config = config
        self._split = split
        self._text_column = text_column
        self._limit = limit
        self._revision = revision
        folder = Path(dataset).expanduser()
        self._folder = folder if folder.is_dir() else None

    def documents(self) -> Iterator[Document]:
        """Yield one document a row, named by its number.

        Raises:
            UserError: the Hub is out of reach, or dataset, configuration, split or column does not exist.

        """
        if self._folder is None:
            self._ask_hub(self._commit())
        rows = itertools.islice(self._rows(), self._limit)
        for number, row in enumerate(rows, start=1):
            text = text_of(row, self._text_column, f"{self._dataset}: row {number}")
            if text.strip():
                yield Document(f"row {number}", text)

    def fingerprint(self) -> str:
        """Return a digest of the commit (or of a local folder's files) and of what is taken from it."""
        if self._folder is not None:
            files = sorted(path for path in self._folder.rglob("*") if path.is_file())
            content = digest_of_contents(self._folder, files)
        else:
            content = digest_of_json([self._dataset, self._commit()])
        taken = [self._config, self._split, self._text_column, self._limit]
        return digest_of_json({"schema": SCHEMA, "content": content, "taken": taken})

    def _commit(self) -> str:
        """Return the commit that this dataset is held at, asking the Hub only the first time."""
        if self._revision is not None and _COMMIT.fullmatch(self._revision):
            return self._revision
        memory = cache_folder() / "revisions" / f"{digest_of_json([self._dataset, self._revision])}.json"
        if memory.is_file():
            return str(read_json(memory)["commit"])
        commit = self._ask_hub(self._revision)
        write_json(memory, {"dataset": self._dataset, "revision": self._revision, "commit": commit})
        return commit

    def _ask_hub(self, revision: str | None) -> str:
        # The library itself would try again for minutes; one short question tells whether there is any use.
        from huggingface_hub import HfApi, errors

        try:
            information = HfApi().dataset_info(self._dataset, revision=revision, timeout=PATIENCE_SECONDS)
        except errors.GatedRepoError:
            raise self._error("asks for consent first; give it on its page, then run: hf auth login") from None
        except errors.RevisionNotFoundError:
            raise self._error(f"has no revision {revision!r} on the Hub") from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError):
            near = _nearest_folder(self._dataset)
            raise self._error(f"is no folder on this machine, and not on the Hub (or it is private){near}") from None
        except errors.OfflineModeIsEnabled:
            raise self._out_of_reach("HF_HUB_OFFLINE is set") from None
        except Exception as error:  # noqa: BLE001 - each version of the Hub's client fails with other classes
            raise self._out_of_reach(_first_line(error)) from None
        return str(information.sha)

    def _rows(self) -> Iterator[dict[str, Any]]:
        import datasets

        if self._folder is not None and any((self._folder / mark).is_file() for mark in _SAVED):
            rows = iter(self._saved())
        else:
            source = str(self._folder) if self._folder is not None else self._dataset
            revision = None if self._folder is not None else self._commit()
            rows = self._guarded(
                lambda: iter(
                    datasets.load_dataset(source, self._config, split=self._split, streaming=True, revision=revision)
                )
            )
        while (row := self._guarded(lambda: next(rows, None))) is not None:
            yield row

    def _saved(self) -> Any:
        import datasets

        saved = self._guarded(lambda: datasets.load_from_disk(str(self._folder)))
        if not isinstance(saved, datasets.DatasetDict):
            return saved
        if self._split not in saved:
            raise UserError(f"{self._dataset}: unknown split {self._split!r}{suggestion(self._split, saved)}")
        return saved[self._split]

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - each of the library's many readers fails with other classes
            raise UserError(f"the dataset {self._dataset!r} cannot be read: {_first_line(error)}") from None

    def _error(self, reason: str) -> UserError:
        return UserError(f"the dataset {self._dataset!r} {reason}", ("dataset",))

    def _out_of_reach(self, reason: str) -> UserError:
        return self._error(
            f"is no folder on this machine, and the Hugging Face Hub is out of reach ({reason}); "
            f"go online once, or use the corpus files or pydocs{_nearest_folder(self._dataset)}"
        )


_SAVED = ("dataset_dict.json", "state.json")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _nearest_folder(name: str) -> str:
    parent = Path(name).expanduser().parent
    beside = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    near = get_close_matches(Path(name).name, beside, n=1, cutoff=0.6)
    return f"; did you mean the folder {str(parent / near[0])!r}?" if near else ""
