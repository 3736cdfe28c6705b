"""Cross-entropy over a large vocabulary, a part of it at a time: logits of all positions for a thousand words or so.

It multiplies four times where whole rows of logits would need three, and in return holds little, adds into nothing
large, and asks for products of a shape that oneDNN is fast at.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.products import linear
from deepsight.trace import IGNORED

WORDS_AT_ONCE, POSITIONS_AT_ONCE = 1024, 4096
"""Of how many rows of the output matrix, and of how many positions, logits are held together."""


def cross_entropy_in_parts(
    hidden: Float[Tensor, "positions width"],
    weight: Float[Tensor, "vocabulary width"],
    targets: Int[Tensor, " positions"],
) -> Float[Tensor, ""]:
    """Return the mean of -log softmax(hidden @ weight.T)[target] over the positions that count.

    Gradients flow to `hidden` and `weight`; there is no second backward through the same value.
    """
    loss: Tensor = _CrossEntropy.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        normaliser = torch.cat([_normaliser(states, weight) for states in torch.split(hidden, POSITIONS_AT_ONCE)])
        counts, places = targets != IGNORED, targets.clamp_min(0)
        own = (hidden * weight[places]).sum(dim=1)
        ctx.save_for_backward(hidden, weight, normaliser, counts, places)
        return ((normaliser - own) * counts).sum() / counts.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, normaliser, counts, places = ctx.saved_tensors
        scale = gradient / counts.sum() * counts
        of_hidden, of_weight = torch.zeros_like(hidden), torch.empty_like(weight)
        for start in range(0, hidden.shape[0], POSITIONS_AT_ONCE):
            rows = slice(start, start + POSITIONS_AT_ONCE)
            given = hidden[rows], normaliser[rows], scale[rows], of_hidden[rows]
            _add_gradients(*given, weight, of_weight, first=start == 0)
        # What the right words are owed.
        of_hidden -= scale[:, None] * weight[places]
        of_weight.index_add_(0, places, -scale[:, None] * hidden)
        return of_hidden, of_weight, None


def _normaliser(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return the logarithm of the sum of the exponentials of all logits, position by position."""
    found = hidden.new_full((hidden.shape[0],), -torch.inf)
    for words in torch.split(weight, WORDS_AT_ONCE):
        found = torch.logaddexp(found, torch.logsumexp(linear(hidden, words), dim=1))
    return found


def _add_gradients(
    hidden: Tensor, normaliser: Tensor, scale: Tensor, of_hidden: Tensor, weight: Tensor, of_weight: Tensor, first: bool
) -> None:
    """Add what the probabilities of all words pass back; the first positions fill `of_weight`."""
    for words, of_words in zip(torch.split(weight, WORDS_AT_ONCE), torch.split(of_weight, WORDS_AT_ONCE), strict=True):
        with torch.enable_grad():
            states, rows = hidden.detach().requires_grad_(), words.detach().requires_grad_()
            logits = linear(states, rows)
        passed = logits.detach().sub_(normaliser[:, None]).exp_().mul_(scale[:, None])
        found = torch.autograd.grad(logits, (states, rows), passed)
        of_hidden += found[0]
        if first:
            of_words.copy_(found[1])
        else:
            of_words += found[1]
