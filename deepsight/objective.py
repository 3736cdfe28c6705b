"""What an objective is: the contract that every registered one keeps, and a base class with its optional parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.trace import Place, Trace

if TYPE_CHECKING:
    from deepsight.architecture import Architecture

Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class Preparation:
    """What an objective (or a part of one) may look at once, before the first step.

    Attributes:
        model: the network with its initial weights.
        count_tokens: returns how often each token id stands in the training split, (vocabulary,); it reads the split.
        seed: of the run, for weights that are made only now.

    """

    model: Architecture
    count_tokens: Callable[[], Int[Tensor, " vocabulary"]]
    seed: int = 0


class Objective(nn.Module):
    """A training loss beside next-token prediction; absent at inference.

    Only `forward` is needed: a plain `nn.Module` with it is an objective too. The rest is taken where it is there.

    `attach` is where the objective reads the network when a run does not say: "encoder", "decoder", {"layer": k}, or
    None for one that reads no single state. The state at the chosen place is ``trace.attached``.

    `coefficient` is its weight when a run does not say.

    `inert` says that it shall move nothing, as the control of a comparison: then its loss is zero, without a gradient.

    `lookahead` is how many tokens past the window its targets need; they come as ``trace.later``.

    `horizon` is how many tokens ahead of a position its furthest target lies; None where nothing bounds it.
    """

    attach: ClassVar[Place | None] = "decoder"
    coefficient: ClassVar[float] = 1.0
    inert: ClassVar[bool] = False
    lookahead: int = 0
    horizon: int | None = None

    @abstractmethod
    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return a dict with a scalar "loss" and any metrics (scalars)."""

    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        """Return scalars that are recorded at every evaluation; called without gradients."""
        return {}

    def prepare(self, preparation: Preparation) -> None:
        """Look at the network and the corpus once, before the first step; a part of an objective may have this too."""

    def progress(self, share: float) -> None:
        """Learn before each step which share (0 … 1) of the training steps is done; a part may have this too."""

    def after_step(self, model: Architecture) -> None:
        """Follow the network after each optimiser step, as a slow teacher does; a part may have this too."""


class Term(NamedTuple):
    """One part of an objective's loss: recorded as `name`, it counts `weight` times in the sum."""

    name: str
    loss: Scalar
    weight: float = 1.0


class SequentialObjective(Objective):
    """An objective whose loss is a sum of terms, made and differentiated one after another.

    Each term's graph is freed before the next is made: several heads over a large vocabulary need the memory of one.
    """

    @abstractmethod
    def terms(self, trace: Trace) -> Iterator[Term]:
        """Yield the terms; the loss is the sum of weight · loss."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the sum, and each term by its name."""
        terms = list(self.terms(trace))
        zero = trace.decoder_output.new_zeros(())
        total: Any = sum((term.weight * term.loss for term in terms), start=zero)
        return {"loss": total, **{term.name: term.loss for term in terms}}
