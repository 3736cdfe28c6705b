"""A planning task as what a run learns from."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from deepsight.data.source import Source
from deepsight.data.tasks.built import built
from deepsight.data.tasks.sequences import HeldOut, TaskBatches, check_context
from deepsight.data.tasks.words import Words
from deepsight.files import digest_of_json
from deepsight.plug_ins import tasks
from deepsight.registry import Spec

EXAMPLES = 1024
"""Sequences to measure on where a run does not say how many."""
COUNTED = 64
"""Batches from which the frequency of tokens is counted."""


class TaskSource(Source):
    """Sequences of a task; equal specifications give equal ones, on every machine.

    Args:
        spec: of the task, complete.

    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.task = built(spec)
        self.vocabulary = len(self.task.words)
        self.digest = fingerprint(spec)

    def batches(self, *, context: int, batch_size: int, seed: int, later: int = 0) -> TaskBatches:
        """Return the training batches of one seed; the fixed set, where there is one, is the same for every seed."""
        check_context(self.task, context)
        return TaskBatches(self.task, batch_size=batch_size, seed=seed, later=later)

    def windows(self, *, context: int, count: int | None = None, later: int = 0) -> HeldOut:
        """Return held-out sequences, the same for every seed."""
        check_context(self.task, context)
        return HeldOut(self.task, count=count or EXAMPLES, later=later)

    def token_counts(self) -> Int[Tensor, " vocabulary"]:
        """Return how often each token id is an answer in some batches: what is no target is no token to predict."""
        counts = np.zeros(self.vocabulary, dtype=np.int64)
        batches = self.batches(context=self.task.length, batch_size=128, seed=0)
        for step in range(COUNTED):
            targets = batches(step).targets.numpy()
            counts += np.bincount(targets[targets >= 0], minlength=self.vocabulary)
        return torch.from_numpy(counts)

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Return zeros, (vocabulary,): there is no text."""
        return np.zeros(self.vocabulary, dtype=np.int32)

    @functools.cache  # noqa: B019 - a source lives as long as its run
    def tokenizer(self) -> Words:
        """Return the task's words."""
        return Words(self.task.words)

    def describe(self) -> str:
        """Return what the sequences are, in one line."""
        kept = self.task.training_set
        told = "new sequences at every step" if kept is None else f"{kept:,} sequences to train on"
        return (
            f"{self.spec['name']}: sequences of {self.task.length} tokens, {self.vocabulary} token ids, {told}, "
            f"{self.task.held_out_told} held out"
        )


def fingerprint(spec: Spec) -> str:
    """Return a digest (64 hexadecimal digits) of the sequences that a specification means."""
    version = getattr(tasks[spec["name"]].factory, "version", 1)
    return digest_of_json({"task": spec, "version": version})
