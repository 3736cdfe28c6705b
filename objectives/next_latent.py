"""Next-latent prediction: a small model of how the state moves, given the tokens that came."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.layers import Linear, Norm
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Place, Shape, Trace
from objectives.averaging import mean_where
from objectives.comparing import Comparing, Vectors
from objectives.token_loss import linear_divergence

Weight = Annotated[float, Field(ge=0.0)]
States = Float[Tensor, "batch rows width"]


class Dynamics(nn.Module):
    """The state after one more token: ĥ_{t+1} = h_t + MLP(norm([E[x_{t+1}]; h_t])), three linear maps with GELUs."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.norm = Norm(2 * width)
        self.expand = Linear(2 * width, inner_width)
        self.middle = Linear(inner_width, inner_width)
        self.output = Linear(inner_width, width)

    def forward(self, states: States, embeddings: States) -> States:
        """Move each state by the embedding of the token that follows it."""
        inside = F.gelu(self.expand(self.norm(torch.cat([embeddings, states], dim=-1))))
        moved: Tensor = states + self.output(F.gelu(self.middle(inside)))
        return moved


@objectives.register(
    "next_latent",
    formula="mean over i: latent · smoothL1(ĥ_{t+i}, sg h_{t+i}) + kl · KL(softmax(U h_{t+i}) ‖ softmax(U ĥ_{t+i}))",
    source="Teoh et al. (2025), arXiv 2511.05963, NextLat",
)
class NextLatent(Comparing):
    """Prediction of the next states from the present state and the true tokens between.

    From every position the dynamics is rolled out d steps, ĥ_{t+i} = p(ĥ_{t+i-1}, x_{t+i}) with ĥ_t = h_t, and each
    step is compared with the detached state that the network itself reaches: as a vector, and by the next token that
    the two foretell through the detached output matrix. A state from which the next ones follow must hold what
    matters of the past. The gradient reaches the network through h_t and the token embeddings.

    A step counts where x_{t+i} stands in the window and in the same document; in the KL term x_{t+i+1} must also be a
    target, so prompts count in the latent term alone, as published. The KL term is the one of the state after the
    final norm: elsewhere than at "decoder" it reads the state as if it were that.

    Extra parameters, with C the width and W the inner width: 3·C·W + W² + 2·C. Extra FLOPs per token forward:
    d · (6·C·W + 2·W²) for the dynamics, and d · 4·C·V for the KL term over a vocabulary of V (its logits are made
    chunk by chunk, and again in the backward pass, so that memory does not grow with positions × vocabulary).

    Args:
        shape: of the model.
        steps: d, how far the dynamics is rolled out; the paper uses up to 8, and on path-star as many as the path
            has nodes less two.
        latent: weight of the smooth L1 term; zero leaves it out.
        kl: weight of the KL term; zero leaves it out.
        inner_width: W; the network's width when not given, as on path-star.

    Raises:
        UserError: both weights are zero.

    """

    attach: ClassVar[Place | None] = "decoder"

    def __init__(
        self,
        shape: Shape,
        steps: Annotated[int, Field(ge=1)] = 1,
        latent: Weight = 1.0,
        kl: Weight = 1.0,
        inner_width: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        super().__init__()
        if latent == kl == 0:
            raise UserError("with both weights zero, latent and kl, there is no loss", ("latent",))
        self.horizon = steps + 1
        self.steps, self.latent, self.kl = steps, latent, kl
        self.dynamics = Dynamics(shape.width, inner_width or shape.width)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the weighted sum, and as "latent" and "kl" its two terms before weighting, where they are computed."""
        truth, matrix = trace.attached.detach(), trace.unembedding.detach()
        latent, kl = [], []
        for step, predicted in enumerate(self.rollout(trace), start=1):
            true = truth[:, step:]
            if self.latent:
                distances = F.smooth_l1_loss(predicted, true, reduction="none").mean(dim=-1)
                latent.append(mean_where(distances, _inside(trace, step)))
            if self.kl:
                counted = trace.ahead(step + 1)[:, : predicted.shape[1]] != IGNORED
                kl.append(linear_divergence(predicted.flatten(0, 1), true.flatten(0, 1), matrix, counted.flatten()))
        terms = {name: torch.stack(found).mean() for name, found in (("latent", latent), ("kl", kl)) if found}
        weights = {"latent": self.latent, "kl": self.kl}
        return {"loss": torch.stack([weights[name] * term for name, term in terms.items()]).sum(), **terms}

    def rollout(self, trace: Trace) -> Iterator[States]:
        """Yield ĥ_{t+i} for i = 1 … d, (B, T - i, C): row t starts from the state at t."""
        states, embeddings = trace.attached, trace.token_embeddings
        for _ in range(self.steps):
            embeddings = embeddings[:, 1:]
            states = self.dynamics(states[:, : embeddings.shape[1]], embeddings)
            yield states

    def sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return the states predicted one step ahead, and those reached; for the diagnostics."""
        return next(self.rollout(trace)), trace.attached.detach()[:, 1:]

    def drafter(self, unembedding: Float[Tensor, "vocabulary width"], context: int) -> _Drafter:
        """Return what guesses the tokens after the next one while a text is decoded, as many as the steps trained."""
        return _Drafter(self, unembedding)

    @staticmethod
    def distance(prediction: Vectors, target: Vectors) -> Tensor:
        """Return the smooth L1 distance; for the diagnostics."""
        return F.smooth_l1_loss(prediction, target)


class _Drafter:
    """Greedy guesses along the rollout: the dynamics goes on from the state with the last token, then with each guess.

    What a state foretells is read off with the output matrix, so guesses are good where the objective reads the state
    after the final norm.
    """

    def __init__(self, objective: NextLatent, unembedding: Float[Tensor, "vocabulary width"]) -> None:
        self._dynamics, self._steps, self._unembedding = objective.dynamics, objective.steps, unembedding

    def guess(self, states: Float[Tensor, "1 new width"], text: Int[Tensor, " known"]) -> Int[Tensor, " guesses"]:
        """Return guesses for the tokens that follow the text, whose last token no state has seen yet."""
        state, token, guesses = states[:, -1:], text[-1:], []
        for _ in range(self._steps):
            state = self._dynamics(state, F.embedding(token[None], self._unembedding))
            token = (state[0] @ self._unembedding.T).argmax(dim=-1)
            guesses.append(token)
        return torch.cat(guesses)


def _inside(trace: Trace, step: int) -> Bool[Tensor, "batch rows"]:
    """Return where x_{t+step} stands in the window and in the document of x_{t+1}, in a prompt or not."""
    following = F.pad(trace.tokens[:, 1:], (0, 1), value=IGNORED)
    everything = dataclasses.replace(trace, targets=following, later=None)
    return everything.ahead(step)[:, : max(0, following.shape[1] - step)] != IGNORED
