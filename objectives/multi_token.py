"""Multi-token prediction: parallel heads guess several tokens ahead from one state."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.layers import LayerCache
from deepsight.objective import SequentialObjective, Term
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from objectives.heads import BlockHead, LinearHead, WindowEnd
from objectives.token_loss import token_loss

HEADS = {"block": BlockHead, "linear": LinearHead}


@objectives.register(
    "multi_token",
    formula="Σᵢ₌₂…ₙ -log softmax(U fᵢ(h)_t)[x_{t+1+stride·(i-1)}]",
    source="Gloeckle et al. (2024), section 2; stride: Liu et al. (2025), L-MTP, arXiv 2505.17505; curriculum: "
    "Aynetdinov & Akbik (2025), arXiv 2505.22757",
)
class MultiToken(SequentialObjective):
    """Cross-entropy of heads 2 … n, each of which predicts a token further ahead; head 1 is the network's own.

    Every head reads the same state, and all share the network's output matrix U. The losses are added, not averaged;
    each is the mean over the positions whose token counts. The heads are differentiated one after another, so that the
    logits and activations of one are held at a time. Attached to {layer: k} with k the last layer but one, the last
    layer is head 1's block, as published; by default the heads read the state that predicts the next token.

    Training cost of the n - 1 added heads, for width C, vocabulary V and window T, each head and token: 6 C V FLOPs for
    the logits, and 6 C² (linear) or 72 C² + 14 T C (block) for the head; C² or 12 C² + 3 C parameters. The published
    comparisons take n - 1 layers out of the network instead, which is the run's to say.

    Args:
        shape: of the model.
        n: tokens predicted, the next one included; with 1 nothing is added.
        head: `block`, as published, is a transformer block and a norm; `linear` a square matrix.
        stride: head i predicts x_{t+1+stride·(i-1)}.
        curriculum: how many heads train when a share p of the training steps is done: `none`, all; `forward`,
            min(n, ⌊p n⌋ + 1); `reverse`, max(1, n - ⌊p n⌋); head 1 included. Evaluations measure all of them.
        window: `trim` leaves out targets past the window; `extend` reads the tokens that follow it.

    Raises:
        UserError: in no window of the context does the last head have a target.

    """

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 4,
        head: Literal["block", "linear"] = "block",
        stride: Annotated[int, Field(ge=1)] = 1,
        curriculum: Literal["none", "forward", "reverse"] = "none",
        window: WindowEnd = "trim",
    ) -> None:
        super().__init__()
        reach = stride * (n - 1)
        if window == "trim" and reach >= shape.context:
            raise UserError(
                f"{n} heads look {reach + 1} tokens ahead: too far for a context of {shape.context}", ("n",)
            )
        self.stride = stride
        self.curriculum = curriculum
        self.share_done = 0.0
        self.horizon = reach + 1
        self.lookahead = reach if window == "extend" else 0
        self.heads = nn.ModuleList(HEADS[head](shape) for _ in range(n - 1))

    def progress(self, share: float) -> None:
        """Take note of the share of the training steps that is done."""
        self.share_done = share

    def heads_in_training(self) -> int:
        """Return how many heads train now, the network's own included."""
        n = len(self.heads) + 1
        # Rounded first: 60 / 88 · 22 is 14.999… in floating point.
        stage = math.floor(round(self.share_done * n, 9))
        return {"none": n, "forward": min(n, stage + 1), "reverse": max(1, n - stage)}[self.curriculum]

    def terms(self, trace: Trace) -> Iterator[Term]:
        """Yield each head's cross-entropy."""
        active = self.heads_in_training() - 1 if self.training else len(self.heads)
        for position, head in enumerate(self.heads[:active], start=1):
            ahead = 1 + self.stride * position
            loss = token_loss(head(trace.attached), trace.unembedding, trace.ahead(ahead))
            yield Term(f"ahead_{ahead}", loss)

    def drafter(self, unembedding: Float[Tensor, "vocabulary width"], context: int) -> _Drafter:
        """Return what guesses the tokens after the next one while a text is decoded."""
        return _Drafter(self, unembedding, context)


class _Drafter:
    """Greedy guesses of the heads.

    With a stride above 1, the heads at one position leave gaps; what they guessed at the stride - 1 positions before
    fills them (Liu et al., 2025, looking backward).
    """

    def __init__(self, objective: MultiToken, unembedding: Float[Tensor, "vocabulary width"], context: int) -> None:
        self._heads, self._stride = objective.heads, objective.stride
        self._unembedding = unembedding
        self._caches = [LayerCache(context) for _ in self._heads]
        # What each head guessed at the last positions.
        self._guessed = torch.empty(0, len(self._heads), dtype=torch.int64, device=unembedding.device)

    def guess(self, states: Float[Tensor, "1 new width"], text: Int[Tensor, " known"]) -> Int[Tensor, " guesses"]:
        """Return guesses for the tokens that follow the text, whose last token no state has seen yet."""
        if not self._heads:
            return text[:0]
        new = []
        for head, cache in zip(self._heads, self._caches, strict=True):
            hidden: Tensor = head(states, cache)[0, -self._stride :]
            new.append((hidden @ self._unembedding.T).argmax(dim=-1))
        self._guessed = torch.cat([self._guessed, torch.stack(new, dim=-1)])[-self._stride :]
        guesses = []
        # The text's last token lies 1 ahead of the last state.
        for ahead in range(2, 2 + self._stride * len(self._heads)):
            back = (1 - ahead) % self._stride
            if back >= len(self._guessed):
                break
            guesses.append(self._guessed[-1 - back, (ahead + back - 1) // self._stride - 1])
        return torch.stack(guesses) if guesses else text[:0]
