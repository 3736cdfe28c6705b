"""Networks that were never trained, on tokens whose law is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from deepsight.building import build_model, build_objectives
from deepsight.data.batches import Batches, ValidationWindows
from deepsight.data.source import Source
from deepsight.data.tokenizers import Tokenizer, fixed_tokenizer
from deepsight.evaluation.probes.probe import Subject
from tests.models import lively
from tests.runs import run_of, source_of

END = 256
KINDS = 6
"""Different tokens of the random text."""


def random_text(length: int, document: int = 40, kinds: int = KINDS, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Return tokens drawn independently and evenly, with an end of text at the end of each document."""
    tokens = np.random.default_rng(seed).integers(kinds, size=length).astype(np.uint16)
    tokens[document - 1 :: document] = END
    return tokens


class TokensSource(Source):
    """Tokens as they are given, some to train on and some to measure on."""

    def __init__(self, train: npt.NDArray[Any], validation: npt.NDArray[Any]) -> None:
        self.train, self.validation = train, validation
        self.vocabulary, self.digest = 257, "0" * 64

    def batches(self, *, context: int, batch_size: int, seed: int, later: int = 0) -> Batches:
        return Batches(self.train, context=context, batch_size=batch_size, seed=seed, later=later)

    def windows(self, *, context: int, count: int | None = None, later: int = 0) -> ValidationWindows:
        return ValidationWindows(self.validation, context=context, count=count, later=later, end_of_text=END)

    def token_counts(self) -> Int[Tensor, " vocabulary"]:
        return torch.from_numpy(np.bincount(self.train, minlength=self.vocabulary))

    def token_bytes(self) -> npt.NDArray[np.int32]:
        return np.ones(self.vocabulary, dtype=np.int32)

    def tokenizer(self) -> Tokenizer:
        return fixed_tokenizer("bytes")

    def describe(self) -> str:
        return "tokens"


def subject_of(train: npt.NDArray[Any], validation: npt.NDArray[Any], **changes: Any) -> Subject:
    """Return a network with weights of a size at which all its parts matter; `changes` are those of a run."""
    config = run_of(Path("unread"), **{"objective": "none", **changes})
    return _subject(config, TokensSource(train, validation))


def task_subject(**changes: Any) -> Subject:
    """Return a network for path-star graphs."""
    nothing = {"corpus": None, "tokenizer": None, "validation_fraction": None}
    data = {**nothing, "task": {"name": "path_star", "length": 3, "degree": 2}}
    config = run_of(Path("unread"), **{"objective": "none", "data": data, "model__context": 20, **changes})
    return _subject(config, source_of(config))


def _subject(config: Any, source: Source) -> Subject:
    model = lively(build_model(config)).eval()
    return Subject(config, model, build_objectives(config, model.shape).eval(), source, torch.device("cpu"))
