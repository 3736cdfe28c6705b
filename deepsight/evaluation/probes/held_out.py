"""Held-out sequences that are measured token by token, and averages over their tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.data.source import Windows
from deepsight.errors import UserError
from deepsight.evaluation.probes.probe import Subject
from deepsight.loss import token_losses
from deepsight.trace import IGNORED

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]

TOKENS_AT_ONCE = 4096
FEW_POSITIONS = 16
"""So many positions are told apart; where more count, ranges of them are."""


@dataclass(frozen=True)
class HeldOutTokens:
    """Held-out sequences, in a fixed order, and which of their tokens count.

    Attributes:
        windows: where they are from.
        inputs: tokens.
        targets: the next token, `IGNORED` where it does not count.
        documents: of each target, (sequences, time).

    """

    windows: Windows
    inputs: Int[Tensor, "sequences time"]
    targets: Int[Tensor, "sequences time"]
    documents: Whole

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which targets count, (sequences, time)."""
        return np.asarray((self.targets != IGNORED).numpy())

    @property
    def positions(self) -> Whole:
        """Where in its sequence, from 0, each target that counts is predicted, (tokens,)."""
        return np.nonzero(self.counted)[1]

    @property
    def counted_documents(self) -> Whole:
        """The document of each target that counts, (tokens,)."""
        return self.documents[self.counted]

    def rows(self) -> Iterator[slice]:
        """Yield which sequences go through a network at once."""
        size = max(1, TOKENS_AT_ONCE // self.inputs.shape[1])
        for start in range(0, len(self.inputs), size):
            yield slice(start, start + size)

    @torch.no_grad()
    def losses(self, model: Architecture, rows: slice) -> Float[Tensor, "batch time"]:
        """Return a network's next-token loss on some sequences, in nats, on the CPU; 0 where a target does not count.

        Args:
            model: the network.
            rows: which sequences.

        """
        device = model.unembedding.device
        losses = token_losses(model(self.inputs[rows].to(device), self.targets[rows].to(device))).float().cpu()
        return F.pad(losses, (self.inputs.shape[1] - losses.shape[1], 0))

    def token_losses(self, model: Architecture, alive: Callable[[], None]) -> Real:
        """Return a network's next-token loss at each target that counts, (tokens,), in nats."""
        found = []
        for rows in self.rows():
            alive()
            found.append(self.losses(model, rows))
        return torch.cat(found).double().numpy()[self.counted]


def held_out_tokens(subject: Subject, count: int) -> HeldOutTokens:
    """Return about so many held-out sequences; the same for all arms and seeds of a study.

    Positions before `evaluation.first_position`, and those that the architecture does not predict, do not count.

    Raises:
        UserError: no target counts.

    """
    config = subject.config
    windows = subject.source.windows(context=config.model.context, count=count)
    batch = next(iter(windows.batches(len(windows))))
    first = max(config.evaluation.first_position, subject.model.first_predicted(config.model))
    targets = batch.targets.clone()
    targets[:, :first] = IGNORED
    if not (targets != IGNORED).any():
        raise UserError(f"no token after position {first} of the held-out sequences counts, so there is no loss to ask")
    return HeldOutTokens(windows, batch.inputs, targets, np.array(windows.documents_of(0, len(windows))))


@dataclass(frozen=True)
class Mean:
    """A mean over tokens.

    Attributes:
        value: the mean.
        error: its standard error over documents; None for fewer than two.
        tokens: how many.
        documents: in how many documents they are.

    """

    value: float
    error: float | None
    tokens: int
    documents: int


def mean_over(values: Real, documents: Whole) -> Mean:
    """Return the mean of some tokens' values, and how certain it is, documents being what is drawn at random.

    Tokens of one document are alike, so they are no independent draws: the mean is a ratio of two sums over documents,
    and its standard error that of the ratio estimator (Cochran, 1977, chapter 6).

    Args:
        values: one a token, at least one, (tokens,).
        documents: of each token, (tokens,).

    """
    _, place = np.unique(documents, return_inverse=True)
    sums, counts = np.bincount(place, weights=values), np.bincount(place)
    mean, number = float(sums.sum() / len(values)), len(sums)
    if number < 2:
        return Mean(mean, None, len(values), number)
    spread = float(((sums - mean * counts) ** 2).sum()) * number / (number - 1)
    return Mean(mean, math.sqrt(spread) / len(values), len(values), number)


def by_doubling(numbers: Whole) -> Iterator[tuple[int, int, npt.NDArray[np.bool_]]]:
    """Yield ranges that double in width, 0, 1, 2–3, 4–7, 8–15, …, and which of the numbers (n,) lie in each.

    A range without any is left out; the last one ends at the largest number.
    """
    powers = np.frexp(numbers)[1]
    for power in np.unique(powers).tolist():
        first = 2 ** (power - 1) if power else 0
        yield first, min(2**power - 1, int(numbers.max())), powers == power


def by_position(positions: Whole) -> Iterator[tuple[int, int, npt.NDArray[np.bool_]]]:
    """Yield the first and the last position of ranges, and which tokens (tokens,) lie in each.

    Each position that counts is a range where there are few; else ranges double in width from the first of them on.
    """
    there = np.unique(positions)
    if len(there) <= FEW_POSITIONS:
        yield from ((int(place), int(place), positions == place) for place in there)
        return
    start = int(there[0])
    for first, last, inside in by_doubling(positions - start):
        yield start + first, start + last, inside
