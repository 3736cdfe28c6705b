"""A network that answers planning tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.data.player import Sequences
from deepsight.generation import generate
from deepsight.random_streams import derive
from deepsight.trace import Place

ROWS_OF_A_DRAW = 256
"""Sequences that are drawn at once."""


class NetworkPlayer:
    """Answers with a network in evaluation mode, some sequences at a time.

    Of the positions that an architecture does not predict, the first ones of a window, it says zeros.

    Args:
        model: the network; its training mode is as before after each answer.
        batch_size: sequences at once.
        autocast: the context of forward passes.
        alive: called at every batch.
        use_cache: False reads whole sequences at each step of generation, for those who look on.

    """

    def __init__(
        self,
        model: Architecture,
        batch_size: int,
        autocast: contextlib.AbstractContextManager[object] | None = None,
        alive: Callable[[], None] = lambda: None,
        *,
        use_cache: bool = True,
    ) -> None:
        self.model, self.batch_size, self.alive, self.use_cache = model, batch_size, alive, use_cache
        self.autocast = autocast or contextlib.nullcontext()

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        """Return `count` tokens after each prompt, (sequences, count)."""
        found = []
        # Each row draws from a stream of its place in the call, so calls have a size that no run chooses.
        for number, rows in enumerate(self._batches(prompts, ROWS_OF_A_DRAW if temperature else self.batch_size)):
            with self.autocast:
                drawn = derive(seed, "player", number)
                tokens = generate(
                    self.model, rows, count, temperature=temperature, seed=drawn, use_cache=self.use_cache
                )
            found.append(tokens.cpu().numpy())
        return np.concatenate(found)

    def predicted(self, sequences: Sequences) -> Sequences:
        """Return the likeliest next token after each token, (sequences, time)."""
        return self._said(sequences, lambda logits: logits.argmax(dim=-1))

    def probabilities(self, sequences: Sequences) -> npt.NDArray[np.float32]:
        """Return the chance of each next token after each token, (sequences, time, vocabulary)."""
        return self._said(sequences, lambda logits: logits.float().softmax(dim=-1))

    def states(self, sequences: Sequences, place: Place) -> npt.NDArray[np.float32]:
        """Return the states at a place of the network, (sequences, time, width)."""
        found = []
        for rows in self._batches(sequences):
            with torch.inference_mode(), self._evaluating(), self.autocast:
                states = self.model.states(self.model.embedding(rows)).at(place)
            found.append(states.float().cpu().numpy())
        return np.concatenate(found)

    def _said(self, sequences: Sequences, said: Callable[[Tensor], Tensor]) -> npt.NDArray[Any]:
        found = []
        for rows in self._batches(sequences):
            with torch.inference_mode(), self._evaluating(), self.autocast:
                answers = said(self.model.logits(rows)).cpu().numpy()
            missing = rows.shape[1] - answers.shape[1]
            found.append(np.pad(answers, ((0, 0), (missing, 0), *[(0, 0)] * (answers.ndim - 2))))
        return np.concatenate(found)

    def _batches(self, sequences: Sequences, size: int | None = None) -> Iterator[Tensor]:
        size = size or self.batch_size
        for start in range(0, len(sequences), size):
            self.alive()
            yield torch.from_numpy(sequences[start : start + size]).to(self.model.unembedding.device)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        before = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(before)
