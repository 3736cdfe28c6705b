"""What is known of the tokens ahead without any state: which tokens are told apart, and what follows which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN, Examples
from deepsight.trace import IGNORED

COUNTED = 500_000
"""Tokens of training sequences that are counted, at most."""
ROWS_AT_ONCE = 16_384


class Classes:
    """The most frequent tokens, each a class, and one class for all the others.

    Args:
        targets: from which they are counted, `IGNORED` where none counts; of any shape.
        vocabulary: number of token ids.
        most: tokens told apart, at most; those that never occur are not.

    """

    def __init__(self, targets: Int[Tensor, ...], vocabulary: int, most: int) -> None:
        counts = torch.bincount(targets[targets != IGNORED], minlength=vocabulary)
        # Equal counts go by token id, so that the order is the same on every machine.
        order = counts.sort(descending=True, stable=True).indices
        self.tokens: Int[Tensor, " told"] = order[: min(most, int((counts > 0).sum()))]
        self._class = torch.full((vocabulary,), len(self.tokens))
        self._class[self.tokens] = torch.arange(len(self.tokens))

    @property
    def count(self) -> int:
        """Number of classes, that of all other tokens, the last, included."""
        return len(self.tokens) + 1

    def of(self, tokens: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Return the class of each token; `IGNORED` stays."""
        return torch.where(tokens == IGNORED, IGNORED, self._class[tokens.clamp_min(0)])


def about(examples: Examples, targets: Int[Tensor, "positions offsets"], classes: Classes) -> dict[str, int | float]:
    """Return how many positions and documents each part has, and which share of the test targets is told apart."""
    parts = {"train": TRAIN, "select": SELECT, "test": TEST}
    documents = {name: examples.documents[examples.parts == part] for name, part in parts.items()}
    test = targets[examples.parts == TEST]
    told = test[test != IGNORED] < len(classes.tokens)
    return {
        **{f"{name}_positions": len(found) for name, found in documents.items()},
        **{f"{name}_documents": len(torch.unique(found)) for name, found in documents.items()},
        "tokens_told_apart": len(classes.tokens),
        "targets_told_apart": float(told.double().mean()),
    }


@dataclass(frozen=True)
class Follower:
    """What follows a token, at one distance.

    Attributes:
        unigram: the share of each class, whatever the token: add-one smoothed.
        bigram: the share of each class after each known token.
        rows: token id → row of `bigram`; the last row, which is the unigram's, where the token is unknown.

    """

    unigram: Float[Tensor, " classes"]
    bigram: Float[Tensor, "known classes"]
    rows: Int[Tensor, " vocabulary"]

    def after(self, tokens: Int[Tensor, " positions"]) -> Float[Tensor, "positions classes"]:
        """Return the share of each class after each token."""
        return self.bigram[self.rows[tokens]]


def follower(
    tokens: Int[Tensor, " positions"],
    following: Int[Tensor, " positions"],
    asked: Int[Tensor, " asked"],
    vocabulary: int,
    classes: int,
) -> Follower:
    """Count which class follows which token, where it counts.

    Args:
        tokens: x_t.
        following: the class of x_{t+k}, or `IGNORED`.
        asked: the tokens after which it will be asked.
        vocabulary: number of token ids.
        classes: number of classes.

    """
    rows, known = _rows(asked, vocabulary)
    counts = following != IGNORED
    tokens, following = tokens[counts], following[counts]
    prior = (torch.bincount(following, minlength=classes) + 1).double()
    places = rows[tokens] * classes + following
    pairs = torch.bincount(places, minlength=known * classes).view(-1, classes)
    return _smoothed(pairs, pairs.sum(dim=1), prior / prior.sum(), rows)


def bag_follower(
    tokens: Int[Tensor, " positions"],
    ahead: Int[Tensor, "positions offsets"],
    asked: Int[Tensor, " asked"],
    vocabulary: int,
    classes: int,
) -> Follower:
    """Count the classes of which a token lies in the window after each token, as `follower` does one distance.

    Args:
        tokens: x_t.
        ahead: the classes in the window, or `IGNORED`.
        asked, vocabulary, classes: as for `follower`.

    """
    rows, known = _rows(asked, vocabulary)
    pairs = torch.zeros(known, classes, dtype=torch.long)
    held = torch.zeros(classes, dtype=torch.double)
    for part, of_part in zip(torch.split(tokens, ROWS_AT_ONCE), torch.split(ahead, ROWS_AT_ONCE), strict=True):
        inside = bags(of_part, classes)
        pairs.index_add_(0, rows[part], inside.long())
        held += inside.sum(dim=0)
    windows = torch.bincount(rows[tokens], minlength=known)
    return _smoothed(pairs, windows, (held + 1) / (len(tokens) + 2), rows)


def bags(ahead: Int[Tensor, "positions offsets"], classes: int) -> Bool[Tensor, "positions classes"]:
    """Return which classes are in each window."""
    padded = torch.zeros(len(ahead), classes + 1, dtype=torch.bool)
    padded.scatter_(1, torch.where(ahead == IGNORED, classes, ahead), True)
    return padded[:, :classes]


def _rows(asked: Int[Tensor, " asked"], vocabulary: int) -> tuple[Int[Tensor, " vocabulary"], int]:
    """Return the row of each token, and how many there are; all tokens after which nobody asks share the last."""
    known = torch.unique(asked)
    rows = torch.full((vocabulary,), len(known))
    rows[known] = torch.arange(len(known))
    return rows, len(known) + 1


def _smoothed(
    pairs: Int[Tensor, "known classes"],
    totals: Int[Tensor, " known"],
    prior: Float[Tensor, " classes"],
    rows: Int[Tensor, " vocabulary"],
) -> Follower:
    """Mix what followed a token with what follows any, the more of this the more kinds followed (Witten & Bell, 1991).

    To add one to each count would drown what is known of a token that was seen a hundred times among thousands.
    """
    kinds = (pairs > 0).sum(dim=1).clamp_min(1)
    bigram = (pairs + kinds[:, None] * prior) / (totals + kinds)[:, None]
    bigram[-1] = prior
    return Follower(prior, bigram, rows)
