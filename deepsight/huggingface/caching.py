"""A cache of `transformers` where our attention layers expect one of ours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache

from deepsight.layers import Arrangement


class CachePart(Arrangement):
    """One attention layer's part of a cache of `transformers`.

    Args:
        cache: holds keys and values as (batch, heads, time, head width); None where nothing is kept.
        part: which of its layers this is.
        standing: of the new positions.

    """

    def __init__(self, cache: Cache | None, part: int, standing: Standing) -> None:
        super().__init__(standing.places, standing.visible)
        self._cache = cache
        self._part = part

    def extended(
        self,
        key: Float[Tensor, "batch new heads head_width"],
        value: Float[Tensor, "batch new heads head_width"],
    ) -> tuple[Tensor, Tensor]:
        """Take in the keys and values of new positions and return those of all positions so far."""
        if self._cache is None:
            return key, value
        keys, values = self._cache.update(key.transpose(1, 2), value.transpose(1, 2), self._part)
        return keys.transpose(1, 2), values.transpose(1, 2)


@dataclass(frozen=True)
class Standing:
    """Where new positions stand, and what they see.

    Attributes:
        places: of each new position.
        needed: how long a context must be to hold them.
        visible: which positions each one sees, where padding is hidden; None for the usual order.

    """

    places: Int[Tensor, "batch new"]
    needed: int
    visible: Bool[Tensor, "batch 1 new all"] | None = None


def standing_of(tokens: Int[Tensor, "batch new"], mask: Int[Tensor, "batch all"] | None, seen: int) -> Standing:
    """Return where tokens stand that come after `seen` others; padding takes no place, and no other position sees it.

    Args:
        tokens: the new ones.
        mask: 0 at padding, else 1, of earlier and new tokens; None where there is no padding.
        seen: how many positions, padding counted, came before.

    """
    batch, new = tokens.shape
    row = torch.arange(seen + new, device=tokens.device)
    if mask is None or bool(mask.all()):
        return Standing(row[seen:].expand(batch, -1), seen + new)
    real = mask.bool()
    places = (real.cumsum(dim=1) - 1).clamp_min(0)[:, seen:]
    # A position that saw nothing at all would be no number, and so would be what is made of it: it sees itself.
    causal, itself = row <= row[seen:, None], row == row[seen:, None]
    return Standing(places, int(places.max()) + 1, (causal & real[:, None, None, :]) | itself)
