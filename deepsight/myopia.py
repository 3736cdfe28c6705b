"""Myopic training (Wu, Morris & Levine, 2024, arXiv 2404.00859): a position learns for its own loss alone.

Every position reads all that it reads otherwise, but in the backward pass the keys and values of other positions are
constants. So no gradient of the loss at a position reaches a state of another one, and nothing teaches a state to hold
what only later positions need. The myopia gap is the rise of next-token loss in a run that is trained so: what a
network gains by computing ahead of time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_wanted = False

EXTRA = 2
"""Dimensions of a head that carry the score of a query with its own key: one rounded, and one for what is left."""


@contextlib.contextmanager
def myopic(wanted: bool = True) -> Iterator[None]:
    """Train myopically inside a ``with`` block: forward passes with gradients, and their backward passes.

    It holds for every `deepsight.attention.attend` in it: those of the network, of objectives' heads on its states, and
    of second networks of theirs, each in the order in which it reads. What an objective does without attention is as
    ever: one that compares states of several positions sends gradients to all of them.
    """
    global _wanted
    before, _wanted = _wanted, wanted
    try:
        yield
    finally:
        _wanted = before


def is_myopic() -> bool:
    """Return whether attention has to keep gradients from other positions now; where there are none, it has not."""
    return _wanted and torch.is_grad_enabled()


@dataclass(frozen=True)
class OwnFirst:
    """Attention in which each query's own key and value carry gradients, and those of all other positions do not.

    It is one ordinary attention. A first key stands for whichever is the query's own: it is zero but in further
    dimensions, where it is one and the query has the score of the two. The other keys follow as constants, zero in
    those dimensions; where attention is causal, without the last key, the same triangle is left. The same dimensions of
    the values give the weight that the own key has, with which the own value is added. So weights, and what dropout
    does to them, are those of attention on the keys themselves.

    Attributes:
        query, key, value: what the attention is given, `EXTRA` wider than before; its scores are scaled as before.
        visible: which keys each query sees; None in the causal order, and the last query stands at the last key.
        own: value of each query's own position.

    """

    query: Float[Tensor, "batch queries heads wider"]
    key: Float[Tensor, "batch others heads wider"]
    value: Float[Tensor, "batch others heads wider"]
    visible: Bool[Tensor, "queries others"] | None
    own: Float[Tensor, "batch queries heads head_width"]

    @classmethod
    def of(
        cls,
        query: Float[Tensor, "batch queries heads head_width"],
        key: Float[Tensor, "batch keys heads head_width"],
        value: Float[Tensor, "batch keys heads head_width"],
        causal: bool,
        visible: Bool[Tensor, "queries keys"] | None,
    ) -> OwnFirst:
        """Split attention whose last query stands at the last key."""
        queries, earlier = query.shape[1], key.shape[1] - query.shape[1]
        own_key, own = key.narrow(1, earlier, queries), value.narrow(1, earlier, queries)
        # A kernel's own scores have the digits of float32; in half precision two numbers have about as many.
        precision = torch.promote_types(query.dtype, torch.float32)
        score = (query.to(precision) * own_key.to(precision)).sum(dim=-1, keepdim=True)
        rounded = score.to(query.dtype)
        query = torch.cat([query, rounded, (score - rounded).to(query.dtype)], dim=-1)
        if causal and visible is None:
            others = key.shape[1] - 1
            return cls(query, _after_own(key.narrow(1, 0, others)), _after_own(value.narrow(1, 0, others)), None, own)
        if visible is None:
            visible = torch.ones(queries, key.shape[1], dtype=torch.bool, device=query.device)
        diagonal = torch.ones_like(visible).tril(earlier).triu(earlier)
        visible = torch.cat([visible.diagonal(earlier)[:, None], visible & ~diagonal], dim=1)
        return cls(query, _after_own(key), _after_own(value), visible, own)

    def joined(
        self, mixed: Float[Tensor, "batch queries heads wider"]
    ) -> Float[Tensor, "batch queries heads head_width"]:
        """Return what the attention finds, the own value included."""
        width = self.own.shape[-1]
        return mixed.narrow(-1, 0, width) + mixed.narrow(-1, width, 1) * self.own


def _after_own(
    others: Float[Tensor, "batch others heads head_width"],
) -> Float[Tensor, "batch own_and_others heads wider"]:
    """Return constants after the one that stands for the own: zero but for ones in the further dimensions."""
    batch, _, heads, width = others.shape
    own = F.pad(others.new_zeros(batch, 1, heads, width), (0, EXTRA), value=1.0)
    return torch.cat([own, F.pad(others.detach(), (0, EXTRA))], dim=1)
