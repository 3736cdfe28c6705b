"""Probes that predict one class of token for each distance: a linear map, and the same with a small network beside it.

A linear probe begins as Fisher's linear discriminant (Fisher, 1936): class means and their common covariance, as far as
that helps on documents of their own; where nothing helps, it says what is most frequent. A few passes of Adam over the
training part follow, and for the small network some more, in which the linear probe beside it stays as it is. What is
kept of each distance is what was best on those documents, so a state that holds nothing gives what no state gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN
from deepsight.trace import IGNORED

BATCH = 512
BETAS = (0.9, 0.99)
SCALES = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
RIDGES = (1e-3, 1e-1)
ROWS_AT_ONCE = 1024

States = Float[Tensor, "positions width"]
Targets = Int[Tensor, "positions offsets"]
Numbers = Float[Tensor, " offsets"]


@dataclass(frozen=True)
class Course:
    """How a probe is trained: Adam, its rate falling to zero in a straight line.

    Attributes:
        epochs: passes over the training part.
        steps: of which there are more epochs where these would be fewer.
        learning_rate: at the first step.
        looks: at the second part.
        patience: looks that may find no distance better before training ends.

    """

    epochs: int
    steps: int
    learning_rate: float
    looks: int
    patience: int

    def batches(self, positions: int, seed: int) -> Int[Tensor, "steps batch"]:
        """Return which of so many positions each step sees."""
        generator = torch.Generator().manual_seed(seed)
        size = min(BATCH, positions)
        steps = max(self.steps, self.epochs * positions // size)
        orders = [torch.randperm(positions, generator=generator) for _ in range(-(-steps * size // positions))]
        return torch.cat(orders)[: steps * size].view(steps, size)


LINEAR = Course(epochs=3, steps=75, learning_rate=1e-3, looks=6, patience=2)
HIDDEN = Course(epochs=6, steps=150, learning_rate=1e-2, looks=12, patience=4)
"""A network finds what no line divides only after a while."""


@dataclass(frozen=True)
class Data:
    """States and the classes ahead of them; `parts` as in `Examples`."""

    states: States
    targets: Targets
    parts: Int[Tensor, " positions"]
    classes: int

    def part(self, part: int) -> tuple[States, Targets]:
        """Return states and targets of one part."""
        chosen = self.parts == part
        return self.states[chosen], self.targets[chosen]

    def standardised(self) -> Data:
        """Return the same with every dimension of the states at mean 0 and variance 1 in the training part."""
        training = self.states[self.parts == TRAIN]
        mean, deviation = training.mean(dim=0), training.std(dim=0)
        # A dimension that is constant but for rounding stays so.
        states = (self.states - mean) / deviation.clamp_min(1e-5 * float(deviation.max()) or 1.0)
        return Data(states, self.targets, self.parts, self.classes)

    def shuffled(self, seed: int) -> Data:
        """Return the same with the targets of the first two parts, each within itself, in a random order."""
        targets = self.targets.clone()
        generator = torch.Generator().manual_seed(seed)
        for part in (TRAIN, SELECT):
            (places,) = (self.parts == part).nonzero(as_tuple=True)
            order = torch.randperm(len(places), generator=generator).to(places.device)
            targets[places] = self.targets[places[order]]
        return Data(self.states, targets, self.parts, self.classes)


class Heads:
    """A probe for each distance: logits ``x W_k + b_k``, and ``+ gelu(x U_k + c_k) V_k`` where it has a hidden layer.

    Attributes:
        weights: name → weights, the distance first.

    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    def __call__(self, states: States) -> Float[Tensor, "offsets positions classes"]:
        """Return the logits at each distance."""
        known = self.weights
        logits = torch.matmul(states, known["W"]) + known["b"]
        if "U" not in known:
            return logits
        hidden = F.gelu(torch.matmul(states, known["U"]) + known["c"])
        return logits + torch.matmul(hidden, known["V"])

    @property
    def course(self) -> Course:
        """How they are trained."""
        return HIDDEN if "U" in self.weights else LINEAR

    def trainable(self) -> list[Tensor]:
        """Return the weights that are trained: of a small network, not those of the linear probe beside it."""
        names = ("U", "c", "V") if "U" in self.weights else ("W", "b")
        return [self.weights[name].requires_grad_() for name in names]

    def with_hidden(self, width: int, seed: int) -> Heads:
        """Return the same probe with a hidden layer beside it that says nothing yet."""
        offsets, inputs, classes = self.weights["W"].shape
        like, generator = self.weights["W"], torch.Generator().manual_seed(seed)
        first = torch.empty(offsets, inputs, width).normal_(0.0, inputs**-0.5, generator=generator)
        added = {
            "U": first.to(like),
            "c": like.new_zeros(offsets, 1, width),
            "V": like.new_zeros(offsets, width, classes),
        }
        return Heads(self.weights | added)


def discriminant(data: Data) -> Heads:
    """Return linear heads without any descent: for each distance Fisher's discriminant, as far as it helps."""
    states, targets = data.part(TRAIN)
    beside, wanted = data.part(SELECT)
    found = [
        _discriminant(states, targets[:, at], beside, wanted[:, at], data.classes) for at in range(targets.shape[1])
    ]
    return Heads({"W": torch.stack([one for one, _ in found]), "b": torch.stack([one for _, one in found])[:, None]})


def descended(heads: Heads, data: Data, seed: int, alive: Callable[[], None]) -> Heads:
    """Return heads after a few passes over the training part; of each distance, as they were when they were best."""
    (states, targets), beside, course = data.part(TRAIN), data.part(SELECT), heads.course
    best = {name: weight.clone() for name, weight in heads.weights.items()}
    least, _ = measured(heads, *beside)
    learned = Heads({name: weight.clone() for name, weight in heads.weights.items()})
    optimizer = torch.optim.Adam(learned.trainable(), lr=course.learning_rate, betas=BETAS)
    batches = course.batches(len(states), seed).to(states.device)
    looks = {-(-len(batches) * look // course.looks) for look in range(1, course.looks + 1)}
    silent = 0
    for step, chosen in enumerate(batches, start=1):
        for group in optimizer.param_groups:
            group["lr"] = course.learning_rate * (1 - (step - 1) / len(batches))
        optimizer.zero_grad()
        torch.autograd.backward(_mean_losses(learned(states[chosen]), targets[chosen]).sum())
        optimizer.step()
        if step not in looks:
            continue
        alive()
        losses, _ = measured(learned, *beside)
        better = losses < least
        for name, weight in learned.weights.items():
            best[name][better] = weight.detach()[better]
        least = torch.where(better, losses, least)
        silent = 0 if better.any() else silent + 1
        if silent >= course.patience:
            break
    return Heads(best)


@torch.no_grad()
def measured(heads: Heads, states: States, targets: Targets) -> tuple[Numbers, Numbers]:
    """Return the mean cross-entropy (nats) and the accuracy at each distance, over the positions that count.

    The likeliest class is one of the tokens told apart; a target among the others is never found.
    """
    nats, right = torch.zeros(targets.shape[1], dtype=torch.double), torch.zeros(targets.shape[1], dtype=torch.double)
    for some, wanted in zip(torch.split(states, ROWS_AT_ONCE), torch.split(targets, ROWS_AT_ONCE), strict=True):
        logits = heads(some)
        nats += _losses(logits, wanted).double().sum(dim=1).cpu()
        right += (logits[..., :-1].argmax(dim=-1) == wanted.T).sum(dim=1).cpu()
    counted = (targets != IGNORED).sum(dim=0).cpu()
    return nats / counted, right / counted


def on_test_part(heads: Heads, data: Data) -> tuple[Numbers, Numbers]:
    """Return cross-entropy and accuracy on the test part."""
    return measured(heads, *data.part(TEST))


def _losses(logits: Float[Tensor, "offsets positions classes"], targets: Targets) -> Float[Tensor, "offsets positions"]:
    """Return the cross-entropy of each target; 0 where it does not count."""
    wanted = targets.T
    losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view(wanted.shape)


def _mean_losses(logits: Float[Tensor, "offsets positions classes"], targets: Targets) -> Float[Tensor, " offsets"]:
    return _losses(logits, targets).sum(dim=1) / (targets != IGNORED).sum(dim=0).clamp_min(1)


def _discriminant(
    states: States,
    targets: Int[Tensor, " positions"],
    beside: Float[Tensor, "beside width"],
    wanted: Int[Tensor, " beside"],
    classes: int,
) -> tuple[Float[Tensor, "width classes"], Float[Tensor, " classes"]]:
    """Return the weights and biases for one distance, as far as they help on what lies beside.

    With class means μ_c and their common covariance Σ, log p(c | x) = x Σ⁻¹ μ_c - ½ μ_c Σ⁻¹ μ_c + log p_c + constant;
    what depends on the state is scaled.
    """
    counts = targets != IGNORED
    dtype, states, targets = states.dtype, states[counts].double(), targets[counts]
    number = torch.bincount(targets, minlength=classes).double()
    frequency = ((number + 1) / (number + 1).sum()).log()
    means = states.new_zeros(classes, states.shape[1]).index_add_(0, targets, states) / (number + 1)[:, None]
    within = states.T @ states / len(states) - (means.T * (number / len(states))) @ means
    best, least = (torch.zeros_like(means.T), frequency), math.inf
    for ridge in RIDGES:
        # States are standardised: their variances are 1 at most.
        weights = torch.linalg.solve(within + ridge * torch.eye(len(within)).to(within), means.T)
        shift = -0.5 * (means * weights.T).sum(dim=1)
        said = beside @ weights.to(dtype) + shift.to(dtype)
        for scale in SCALES:
            loss = float(F.cross_entropy(scale * said + frequency.to(dtype), wanted, ignore_index=IGNORED))
            if loss < least:
                best, least = (scale * weights, scale * shift + frequency), loss
    return best[0].to(dtype), best[1].to(dtype)
