"""The distinct tokens that come after each position, and losses over a vocabulary computed chunk by chunk.

A bag or an order of the tokens ahead has at most as many entries as its window has positions, so it is kept as those
entries. Nothing of size batch × time × vocabulary is held; one chunk of positions meets the vocabulary at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deepsight.trace import IGNORED, Trace

ROWS_AT_ONCE = 1024
"""Positions (of all sequences together) whose logits are held at once."""


class Upcoming:
    """What follows each position of a trace: x_{t+1} … up to the end of the window, and of what comes after it."""

    def __init__(self, trace: Trace) -> None:
        known = trace.targets if trace.later is None else torch.cat([trace.targets, trace.later], dim=1)
        # A prompt has no targets, but its tokens end documents all the same.
        read = torch.cat([trace.tokens[:, 1:], known[:, trace.tokens.shape[1] - 1 :]], dim=1)
        ends = torch.zeros_like(read) if trace.end_of_text is None else (read == trace.end_of_text).long()
        self.tokens = known
        self._before = _previous_occurrence(known)
        # Documents that have ended before each token.
        self._document = F.pad(ends.cumsum(dim=1), (1, 0))[:, :-1]

    def distinct(
        self, rows: slice, first: int, last: int
    ) -> tuple[Int[Tensor, "batch columns"], Int[Tensor, "rows columns"], Bool[Tensor, "batch rows columns"]]:
        """Return the tokens x_{t+first} … x_{t+last} of some positions t, as columns that these positions share.

        Returns:
            The token of each column (0 where nothing is known); how far it lies ahead of each position; and whether it
            counts there: it lies in the window, is a target, belongs to the document of x_{t+1}, and its kind has not
            come earlier in this window.

        """
        begin = min(rows.start + first - 1, self.tokens.shape[1])
        columns = slice(begin, max(begin, min(self.tokens.shape[1], rows.stop - 1 + last)))
        device = self.tokens.device
        # Column s holds x_{s+1}.
        column = torch.arange(columns.start, columns.stop, device=device)
        row = torch.arange(rows.start, rows.stop, device=device)[:, None]
        distance = column - row + 1
        tokens, before, document = (part[:, None, columns] for part in (self.tokens, self._before, self._document))
        counts = (distance >= first) & (distance <= last) & (tokens != IGNORED)
        counts = counts & (before < row + first - 1) & (document == self._document[:, rows, None])
        return tokens[:, 0].clamp_min(0), distance, counts


def summed_in_chunks(
    numbers_of: Callable[[slice], Float[Tensor, " numbers"]], time: int, batch: int
) -> Float[Tensor, " numbers"]:
    """Add up what a function says of consecutive positions, a chunk of them at a time.

    What a chunk computed is forgotten, and computed again for its gradient, unless there is only one.
    """
    size = max(1, ROWS_AT_ONCE // batch)
    chunks = [slice(start, min(time, start + size)) for start in range(0, time, size)]
    if len(chunks) == 1:
        return numbers_of(chunks[0])
    # Nothing random is computed again, so no generator state needs keeping.
    parts = [checkpoint(numbers_of, rows, use_reentrant=False, preserve_rng_state=False) for rows in chunks]
    return torch.stack(parts).sum(dim=0)


def _previous_occurrence(tokens: Int[Tensor, "batch positions"]) -> Int[Tensor, "batch positions"]:
    """Return where the same token stood last before each position, -1 where it did not."""
    # Equal tokens become neighbours, in the order of their positions.
    ordered, position = tokens.sort(dim=1, stable=True)
    same = ordered[:, 1:] == ordered[:, :-1]
    found = torch.full_like(tokens, -1)
    return found.scatter(1, position[:, 1:], position[:, :-1].where(same, -1))
