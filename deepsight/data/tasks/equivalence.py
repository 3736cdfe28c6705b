"""Whether a player allows the same after all that leads to the same state, and tells different states apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
"""Which group each prefix belongs to, (prefixes,): whole numbers from 0 on."""


def compression(states: Numbers, allowed: Numbers) -> float | None:
    """Return how often two prefixes of the same state have the same allowed tokens, as a mean over states.

    After Vafa et al. (2024), sequence compression, with continuations of one token.

    Args:
        states: that prefixes lead to.
        allowed: number of the set of tokens that the player allows.

    Returns:
        A share; None where no state has two prefixes.

    """
    pairs = _pairs(np.bincount(states))
    several = pairs > 0
    if not several.any():
        return None
    return float((_pairs_alike(states, allowed)[several] / pairs[several]).mean())


def distinction(possible: Numbers, allowed: Numbers) -> float | None:
    """Return how often two prefixes after which different tokens are possible have different allowed tokens.

    Args:
        possible: number of the set of tokens that are possible.
        allowed: number of the set of tokens that the player allows.

    Returns:
        The share of pairs; None where no two prefixes differ.

    """
    different = _pairs(np.array(len(possible))) - _pairs(np.bincount(possible)).sum()
    if not different:
        return None
    taken_for_the_same = _pairs(np.bincount(allowed)).sum() - _pairs_alike(possible, allowed).sum()
    return float(1 - taken_for_the_same / different)


def _pairs(sizes: Numbers) -> Numbers:
    return sizes * (sizes - 1) // 2


def _pairs_alike(groups: Numbers, parts: Numbers) -> Numbers:
    """Return how many pairs of each group are in the same part of it."""
    found = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    both, sizes = np.unique(np.stack([groups, parts]), axis=1, return_counts=True)
    np.add.at(found, both[0], _pairs(sizes))
    return found
