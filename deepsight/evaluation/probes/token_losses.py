"""Which tokens a network predicts badly: by position, by how frequent they are, by what the last few tokens tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.batches import ValidationWindows
from deepsight.data.tasks.source import TaskSource
from deepsight.data.text import TextSource
from deepsight.evaluation.probes.held_out import HeldOutTokens, Real, Whole, by_position, held_out_tokens, mean_over
from deepsight.evaluation.probes.ngrams import Followed, Places, followed, places_of
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.plug_ins import probes

Row = dict[str, Any]
Chosen = npt.NDArray[np.bool_]

BATCH = 256
"""Sequences of a task that are drawn at once."""


@probes.register(
    "token_losses", formula="mean of -log p(x_{t+1}) over a class of tokens", source="n-gram: Witten & Bell (1991)"
)
class TokenLosses(Probe):
    """Where the next-token loss lies: by position, by frequency, by whether the last few tokens tell the next one.

    Beside the network stands an n-gram model: counts of what followed the last k tokens in the training split, for k =
    0, 1, …, interpolated (Witten & Bell, 1991). It sees no more of a sequence than the network does. A token is
    inferable from the last k where it is what most often followed them; its class is the smallest such k.

    Tables: `inferable`, by that class (`unigram`, `last 1`, …, and `none` of them); `frequency`, by how often a token
    stands in the training split; `positions`, by position in the window, from 0; each with the share of tokens, the
    loss (nats per token) with its standard error over documents, and that of the longest n-gram; `overall`, the loss of
    the network and of each n-gram. On a planning task tokens are counted in batches of training sequences.

    Args:
        windows: held-out sequences.
        k: the most tokens that the n-gram model looks back.
        counted: tokens of training sequences that it counts, at most; spread over the training split.

    """

    version = 1

    def __init__(
        self,
        windows: Annotated[int, Field(ge=1)] = 128,
        k: Annotated[int, Field(ge=1, le=8)] = 3,
        counted: Annotated[int, Field(ge=1)] = 2_000_000,
    ) -> None:
        self.windows, self.k, self.counted = windows, k, counted

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the tables `inferable`, `frequency`, `positions` and `overall`."""
        held = held_out_tokens(subject, self.windows)
        asked = places_of(held.inputs.numpy(), held.targets.numpy(), self.k)
        known = training_places(subject, self.k, self.counted, alive)
        said: list[Followed] = []
        for found in followed(known, asked, subject.model.vocabulary):
            alive()
            said.append(found)
        losses = held.token_losses(subject.model, alive)
        measured = _Measured(held, losses, -np.log(said[-1].probability))
        counts = subject.source.token_counts().numpy()[asked.following]
        return {
            "inferable": [
                {"inferable_from": label, **measured.row(inside)}
                for label, inside in by_inference(said, asked.following)
            ],
            "frequency": [
                {"least_count": least, "most_count": most, **measured.row(inside)}
                for least, most, inside in by_frequency(counts)
            ],
            "positions": [
                {"first_position": first, "last_position": last, **measured.row(inside)}
                for first, last, inside in by_position(held.positions)
            ],
            "overall": [
                {"predictor": name, **measured.overall(of_predictor)}
                for name, of_predictor in {
                    "network": losses,
                    **{label(k): -np.log(found.probability) for k, found in enumerate(said)},
                }.items()
            ],
        }


class _Measured:
    """The losses of the tokens that count.

    Args:
        held: where they stand.
        losses: of the network, (tokens,), in nats.
        ngram: of the n-gram model, (tokens,), in nats.

    """

    def __init__(self, held: HeldOutTokens, losses: Real, ngram: Real) -> None:
        self.losses, self.ngram, self.documents = losses, ngram, held.counted_documents

    def row(self, inside: Chosen) -> Row:
        """Return what is told of a class of tokens; there are no losses of one without any."""
        about: Row = {"tokens": int(inside.sum()), "share": float(inside.mean())}
        if not inside.any():
            return {**about, "loss": None, "standard_error": None, "ngram_loss": None}
        found = mean_over(self.losses[inside], self.documents[inside])
        ngram = float(self.ngram[inside].mean())
        return {**about, "loss": found.value, "standard_error": found.error, "ngram_loss": ngram}

    def overall(self, losses: Real) -> Row:
        """Return what is told of a predictor."""
        found = mean_over(losses, self.documents)
        return {"tokens": found.tokens, "loss": found.value, "standard_error": found.error}


def training_places(subject: Subject, most: int, counted: int, alive: Callable[[], None]) -> Places:
    """Return the places of training sequences, the same for all arms and seeds of a study.

    Args:
        subject: the run; of its source the training split, or of a task that draws ever new sequences, some of them.
        most: how many of the last tokens are kept.
        counted: tokens, at most, but one sequence at least.
        alive: called again and again.

    """
    source, context = subject.source, subject.config.model.context
    if isinstance(source, TextSource):
        windows = ValidationWindows(source.corpus.train, context=context, count=max(1, counted // context))
        batch = next(windows.batches(len(windows)))
        alive()
        return places_of(batch.inputs.numpy(), batch.targets.numpy(), most)
    batches = source.batches(context=context, batch_size=BATCH, seed=subject.seed)
    length = batches(0).inputs.shape[1]
    fixed = source.task.training_set if isinstance(source, TaskSource) else None
    sequences = max(1, counted // length) if fixed is None else min(fixed, max(1, counted // length))
    inputs, targets = [], []
    for step in range(-(-sequences // BATCH)):
        alive()
        batch = batches(step)
        left = sequences - step * BATCH
        inputs.append(batch.inputs[:left].numpy())
        targets.append(batch.targets[:left].numpy())
    return places_of(np.concatenate(inputs), np.concatenate(targets), most)


def label(k: int) -> str:
    """Return how tables name the n-gram model that looks back k tokens."""
    return f"last {k}" if k else "unigram"


def by_inference(said: list[Followed], following: Whole) -> Iterator[tuple[str, Chosen]]:
    """Yield for k = 0, 1, … and for none of them which tokens are inferable from so many and no fewer, (tokens,).

    Args:
        said: what the last k tokens say.
        following: what comes, (tokens,).

    """
    left = np.ones(len(following), dtype=np.bool_)
    for k, found in enumerate(said):
        told = found.likeliest == following
        yield label(k), left & told
        left &= ~told
    yield "none", left


def by_frequency(counts: Whole) -> Iterator[tuple[int, int, Chosen]]:
    """Yield classes of counts, 0, 1–9, 10–99, 100–999, …, and which tokens (tokens,) are in each; none is empty."""
    digits = np.where(counts > 0, np.floor(np.log10(np.maximum(counts, 1) + 0.5)).astype(np.int64) + 1, 0)
    for number in np.unique(digits).tolist():
        yield (10 ** (number - 1) if number else 0), (10**number - 1 if number else 0), digits == number
