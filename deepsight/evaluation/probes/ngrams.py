"""What the last few tokens say of the next one: counts of what followed them, in numpy and all at once.

Contexts are numbered one token at a time: the number of the last k tokens is that of a pair, the number of the last
k - 1 and the token before them. So numbers stay small and exact whatever the vocabulary, and training tokens after
contexts that nobody asks of drop out early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]

NOTHING = -1
"""In place of a token before the beginning, and of what follows what was never seen."""


@dataclass(frozen=True)
class Places:
    """Positions of sequences, each with what was read and what comes next.

    Attributes:
        last: the last tokens read, the latest first, `NOTHING` before a sequence's beginning, (places, most).
        following: the next token, (places,).

    """

    last: Whole
    following: Whole


@dataclass(frozen=True)
class Followed:
    """What the last k tokens say, at each place asked.

    Attributes:
        likeliest: what followed them most often, of equals the smallest id; `NOTHING` where they were never seen, or
            where fewer than k have been read, (places,).
        probability: of the token that does come next, (places,).

    """

    likeliest: Whole
    probability: Real


def places_of(inputs: Whole, targets: Whole, most: int) -> Places:
    """Return the places of sequences whose target counts, which is not negative.

    Args:
        inputs: tokens, (sequences, time).
        targets: the next token at each position, (sequences, time).
        most: how many of the last tokens are kept.

    """
    counted = targets >= 0
    padded = np.pad(inputs, ((0, 0), (most, 0)), constant_values=NOTHING)
    time = inputs.shape[1]
    last = [padded[:, most - back : most - back + time][counted] for back in range(most)]
    return Places(np.stack(last, axis=1) if last else np.empty((int(counted.sum()), 0), np.int64), targets[counted])


def followed(known: Places, asked: Places, vocabulary: int) -> Iterator[Followed]:
    """Yield what the last k tokens say of the next one, for k = 0, 1, … up to as many as the places keep.

    The probability is interpolated: with n(c y) times y after the context c, n(c) times anything and T(c) different
    tokens, p_k(y) = (n(c y) + T(c) p_{k-1}(y)) / (n(c) + T(c)) (Witten & Bell, 1991, method C; in this form Chen &
    Goodman, 1998), and p_{k-1}(y) where c was never seen. p_0 adds one to each count.

    Args:
        known: what is counted.
        asked: where it is asked.
        vocabulary: number of token ids.

    """
    counts = np.bincount(known.following, minlength=vocabulary)
    probability = ((counts + 1) / (counts.sum() + vocabulary))[asked.following]
    first = int(counts.argmax()) if len(known.following) else NOTHING
    yield Followed(np.full(len(asked.following), first), probability)
    contexts, of_asked = np.zeros(len(known.following), np.int64), np.zeros(len(asked.following), np.int64)
    training, following = known.last, known.following
    for back in range(asked.last.shape[1]):
        keys = _joined(of_asked, asked.last[:, back], vocabulary)
        numbered = np.unique(keys[keys >= 0])
        of_asked = _place_in(numbered, keys)
        contexts = _place_in(numbered, _joined(contexts, training[:, back], vocabulary))
        there = contexts >= 0
        contexts, training, following = contexts[there], training[there], following[there]
        likeliest, probability = _after(
            contexts, following, of_asked, asked.following, len(numbered), vocabulary, probability
        )
        yield Followed(likeliest, probability)


def _after(
    contexts: Whole,
    following: Whole,
    of_asked: Whole,
    wanted: Whole,
    number: int,
    vocabulary: int,
    shorter: Real,
) -> tuple[Whole, Real]:
    """Return what most often followed the context of each place asked, and the probability of what does.

    Args:
        contexts: of the counted places, numbered from 0.
        following: the token after each.
        of_asked: the contexts of the places asked, `NOTHING` where there is none.
        wanted: the token that comes next there.
        number: of contexts.
        vocabulary: number of token ids.
        shorter: the probability that a context shorter by one gives.

    """
    pairs, times = np.unique(contexts * vocabulary + following, return_counts=True)
    owners, tokens = np.divmod(pairs, vocabulary)
    totals, kinds = np.bincount(contexts, minlength=number), np.bincount(owners, minlength=number)
    most = np.zeros(number, np.int64)
    np.maximum.at(most, owners, times)
    # Pairs are sorted by context and token: the first of those with the largest count has the smallest token.
    (largest,) = np.nonzero(times == most[owners])
    seen, first = np.unique(owners[largest], return_index=True)
    likeliest = np.full(number + 1, NOTHING)
    likeliest[seen] = tokens[largest[first]]
    place = _place_in(pairs, np.where(of_asked >= 0, of_asked * vocabulary + wanted, NOTHING))
    count = np.where(place >= 0, np.append(times, 0)[place], 0)
    # What is asked after no context finds the last entry, which stands for none.
    total, kind = np.append(totals, 0)[of_asked], np.append(kinds, 0)[of_asked]
    probability = np.where(total > 0, (count + kind * shorter) / np.maximum(total + kind, 1), shorter)
    return likeliest[of_asked], probability


def _joined(contexts: Whole, tokens: Whole, vocabulary: int) -> Whole:
    """Return a number for each pair of a context and a token; `NOTHING` where one of them is."""
    return np.where((contexts >= 0) & (tokens >= 0), contexts * vocabulary + tokens, NOTHING)


def _place_in(ordered: Whole, values: Whole) -> Whole:
    """Return where each value stands in an ordered array of different ones; `NOTHING` where it does not."""
    if not len(ordered):
        return np.full(len(values), NOTHING)
    place = np.searchsorted(ordered, values).clip(max=len(ordered) - 1)
    return np.where(ordered[place] == values, place, NOTHING)
