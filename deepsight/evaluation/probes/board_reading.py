"""Linear probes of what many cells hold at once: one softmax a cell, all fitted together."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN
from deepsight.trace import IGNORED

STEPS = 400
BATCH = 256
LOOKS = 8
"""How often the fit is looked at on games of their own."""
LEARNING_RATE = 3e-2
"""At the first step, of whitened states; it falls to zero in a straight line."""
SMALLEST = 1e-5
"""Added to variances before directions are made equally long, so that rounding is not blown up."""

States = Float[Tensor, "positions width"]
Contents = Int[Tensor, "positions cells"]


class CellReader:
    """Logits ``x W + b`` of what each cell holds.

    Args:
        weights: W.
        bias: b.

    """

    def __init__(self, weights: Float[Tensor, "width cells contents"], bias: Float[Tensor, "cells contents"]) -> None:
        self.weights, self.bias = weights, bias

    def __call__(self, states: States) -> Float[Tensor, "positions cells contents"]:
        """Return the logits."""
        said: Tensor = (states @ self.weights.flatten(1)).view(-1, *self.bias.shape) + self.bias
        return said

    def losses(self, states: States, contents: Contents) -> Float[Tensor, " cells"]:
        """Return the mean cross-entropy of each cell over the positions that count; 0 where none does."""
        nats = F.cross_entropy(self(states).flatten(0, 1), contents.flatten(), ignore_index=IGNORED, reduction="none")
        return nats.view(contents.shape).sum(dim=0) / (contents != IGNORED).sum(dim=0).clamp_min(1)


def read_cells(
    states: States,
    contents: Contents,
    parts: Int[Tensor, " positions"],
    kinds: int,
    seed: int,
    alive: Callable[[], None],
) -> Int[Tensor, "tested cells"]:
    """Fit a linear probe for every cell, and return what it reads at the test positions.

    The logistic regression begins with frequencies alone, and of each cell what is kept is what was best on the second
    part, so states that tell nothing give what is most frequent.

    Args:
        states: of all positions.
        contents: what each cell holds; `IGNORED` where it does not count.
        parts: `TRAIN`, `SELECT` or `TEST`.
        kinds: of contents.
        seed: from which the order of positions is drawn.
        alive: called again and again.

    """
    states = whitened(states, parts == TRAIN)
    contents, parts = contents.to(states.device), parts.to(states.device)
    reader = _fitted(states[parts == TRAIN], contents[parts == TRAIN], states[parts == SELECT],
                     contents[parts == SELECT], kinds, seed, alive)  # fmt: skip
    with torch.no_grad():
        said: Tensor = reader(states[parts == TEST]).argmax(dim=-1).cpu()
    return said


def whitened(states: States, training: Tensor) -> States:
    """Return states whose directions have mean 0 and variance 1 in the training part, less where they hardly vary."""
    known = states[training.to(states.device)].double()
    mean, deviation = known.mean(dim=0), known.std(dim=0)
    deviation = deviation.clamp_min(1e-5 * float(deviation.max()) or 1.0)
    known = (known - mean) / deviation
    values, directions = torch.linalg.eigh(known.T @ known / len(known))
    scaled = directions * (values.clamp_min(0) + SMALLEST).rsqrt()
    found: Tensor = ((states.double() - mean) / deviation) @ scaled
    return found.to(states.dtype)


def most_frequent(contents: Contents, kinds: int) -> Int[Tensor, " cells"]:
    """Return what each cell holds most often."""
    return _counts(contents, kinds).argmax(dim=-1)


def _fitted(
    states: States,
    contents: Contents,
    beside: Float[Tensor, "others width"],
    wanted: Int[Tensor, "others cells"],
    kinds: int,
    seed: int,
    alive: Callable[[], None],
) -> CellReader:
    counts = _counts(contents, kinds).to(states.dtype) + 0.5
    bias = (counts / counts.sum(dim=-1, keepdim=True)).log()
    reader = CellReader(states.new_zeros(states.shape[1], *bias.shape).requires_grad_(), bias.requires_grad_())
    best = CellReader(reader.weights.detach().clone(), reader.bias.detach().clone())
    with torch.no_grad():
        least = reader.losses(beside, wanted)
    optimizer = torch.optim.Adam([reader.weights, reader.bias], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        chosen = torch.randint(len(states), (BATCH,), generator=generator).to(states.device)
        optimizer.zero_grad()
        torch.autograd.backward(reader.losses(states[chosen], contents[chosen]).sum())
        optimizer.step()
        if (step + 1) % (STEPS // LOOKS) == 0:
            alive()
            with torch.no_grad():
                losses = reader.losses(beside, wanted)
                better = losses < least
                best.weights[:, better], best.bias[better] = reader.weights[:, better], reader.bias[better]
                least = torch.where(better, losses, least)
    return best


def _counts(contents: Contents, kinds: int) -> Int[Tensor, "cells kinds"]:
    return torch.stack([(contents == kind).sum(dim=0) for kind in range(kinds)], dim=-1)
