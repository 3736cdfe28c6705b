"""Whoever answers a planning task: a network, or a solver that knows the rules."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Sequences: TypeAlias = npt.NDArray[np.int64]
"""Token ids, (sequences, time)."""


@runtime_checkable
class Player(Protocol):
    """What a task may ask of whoever answers it; all arrays are numpy's."""

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        """Return `count` tokens after each prompt, (sequences, count), one after the other.

        Args:
            prompts: all of one length, (sequences, time).
            count: tokens to add.
            temperature: 0 takes the likeliest token; else tokens are drawn.
            seed: of the draws.

        """
        ...

    def predicted(self, sequences: Sequences) -> Sequences:
        """Return the likeliest next token after each token of the sequences, (sequences, time)."""
        ...

    def probabilities(self, sequences: Sequences) -> npt.NDArray[np.float32]:
        """Return the chance of each next token after each token, (sequences, time, vocabulary)."""
        ...

    def states(self, sequences: Sequences, place: Any) -> npt.NDArray[np.float32] | None:
        """Return the states at a place of the network, (sequences, time, width); None for who has none.

        Args:
            sequences: token ids.
            place: "encoder", "decoder" or {"layer": k}.

        """
        ...
