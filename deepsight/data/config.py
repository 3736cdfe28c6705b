"""What a run learns from, as people write it: text, or a planning task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from deepsight.data.tokenizers import end_of_text_of, vocabulary_of
from deepsight.errors import UserError
from deepsight.plug_ins import CorpusSpec, TaskSpec, corpora, tasks
from deepsight.registry import Spec
from deepsight.validation import Strict

if TYPE_CHECKING:
    from deepsight.data.tasks.task import Task

TEXT = ("corpus", "tokenizer", "validation_fraction")
"""Keys of the data where it is text."""

USUAL_FRACTION = 0.05
"""Share of the documents held out where a run does not say it."""


def _known_tokenizer(name: str) -> str:
    vocabulary_of(name)
    return name


class DataConfig(Strict):
    """What is learned from: text, or a planning task.

    Attributes:
        corpus: the source of documents.
        tokenizer: what makes tokens of them.
        validation_fraction: share of the documents held out for validation; 0.05 when not given.
        task: a planning task, in place of these three.

    """

    corpus: CorpusSpec | None = None
    tokenizer: Annotated[str, AfterValidator(_known_tokenizer)] | None = None
    validation_fraction: float | None = Field(default=None, gt=0.0, lt=1.0)
    task: TaskSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_or_task(cls, written: Any) -> Any:
        if not isinstance(written, Mapping) or not set(written) <= {*TEXT, "task"}:
            return written
        given = {key for key, value in written.items() if value is not None}
        if "task" in given:
            if text := [key for key in TEXT if key in given]:
                raise UserError(f"a task has tokens of its own; leave out {' and '.join(text)}", (text[0],))
            return written
        if missing := [key for key in ("corpus", "tokenizer") if key not in given]:
            raise UserError(f"the key {missing[0]!r} is missing; text needs a corpus and a tokenizer, or give a task")
        return {"validation_fraction": USUAL_FRACTION, **written}

    @model_serializer(mode="wrap")
    def _only_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None}

    @property
    def vocabulary(self) -> int:
        """Number of token ids, end of text included."""
        return len(self.build_task().words) if self.tokenizer is None else vocabulary_of(self.tokenizer)

    @property
    def end_of_text(self) -> int | None:
        """The id that ends each document; None where there are none."""
        return None if self.tokenizer is None else end_of_text_of(self.tokenizer)

    @property
    def tokens(self) -> str | Spec:
        """What decides how many token ids there are, and which objectives fit: the tokenizer's name, or the task."""
        return self.tokenizer or self.task_spec() or {}

    def corpus_spec(self) -> Spec:
        """Return the corpus in its complete form."""
        return corpora.resolve(self.corpus)

    def task_spec(self) -> Spec | None:
        """Return the task in its complete form; None where there is text."""
        return None if self.task is None else tasks.resolve(self.task)

    def build_task(self) -> Task:
        """Return the task.

        Raises:
            UserError: its parameters do not go together.

        """
        from deepsight.data.tasks.built import built

        spec = self.task_spec()
        assert spec is not None, "there is a task"
        try:
            return built(spec)
        except UserError as error:
            raise error.within("data", "task") from None
