"""Joint multi-token prediction: the next tokens in a chain, with the network's state as their only view of the past."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.layers import Linear, Norm
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Place, Shape, Trace
from objectives.target_vectors import tokens_with_later
from objectives.token_loss import token_loss

Weight = Annotated[float, Field(ge=0.0)]
Items = Float[Tensor, "batch time items width"]

INITIAL_GAIN = 0.1


class ChainAttention(nn.Module):
    """Causal self-attention over the few items of each chain, with a learned bias for each head and distance."""

    def __init__(self, width: int, heads: int, items: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = Linear(width, 3 * width)
        self.output = Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, items))

    def forward(self, items: Items) -> Items:
        """Let each item attend to itself and those before it in its chain."""
        split = self.query_key_value(items).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.movedim(-3, 0).transpose(-2, -3).unbind()
        distance = torch.arange(items.shape[2], device=items.device)
        distance = distance[:, None] - distance
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + self.bias[:, distance.clamp_min(0)]
        weights = scores.masked_fill(distance < 0, -torch.inf).softmax(dim=-1)
        mixed: Tensor = self.output((weights @ value).transpose(-2, -3).flatten(-2))
        return mixed


@objectives.register(
    "joint_multi_token",
    formula="first · CE(x_{t+1}) + rest · (1/n) Σᵢ CE(x_{t+1+i} | h_t, x_{t+1} … x_{t+i})",
    source="Ahn et al. (2025), arXiv 2503.21801, JTP",
)
class JointMultiToken(Objective):
    """The n tokens after the next one, each given those before it, through the bottleneck of one state.

    From every position a chain of n + 1 items is made: norm(E[x_{t+i}] + g · h_t) for i = 0 … n, with a learned
    scalar g. One causal self-attention layer runs over each chain; items 1 … n then also get h_t itself. Normed, item i
    predicts x_{t+1+i} through the network's output matrix. Since the tokens between are given, the state need not
    guess them, but all that the chain knows of the past it has from h_t.

    Deviation. In the paper item 0 *is* the next-token prediction, so that the attention layer stays at inference. An
    objective of this toolkit must not change inference: here the network predicts the next token from its state as
    always, and item 0's cross-entropy, weighted by `first`, is one more auxiliary term. `first: 0` leaves it out.

    Extra parameters, with C the width and H the heads: 4·C² + 2·C + 1 + H·(n + 1). Extra FLOPs per token forward:
    (n + 1) · (8·C² + 4·C·(n + 1) + 2·C·V) over a vocabulary of V.

    Args:
        shape: of the model.
        n: how many tokens after the next one are predicted.
        first: weight of the next token's term.
        rest: weight of the mean of the other n terms.

    Raises:
        UserError: both weights are zero.

    """

    attach: ClassVar[Place | None] = "decoder"

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 4,
        first: Weight = 1.0,
        rest: Weight = 1.0,
    ) -> None:
        super().__init__()
        if first == rest == 0:
            raise UserError("with both weights zero, first and rest, there is no loss", ("first",))
        self.n, self.first, self.rest = n, first, rest
        self.horizon, self.lookahead = n + 1, n
        self.gain = nn.Parameter(torch.tensor(INITIAL_GAIN))
        self.item_norm = Norm(shape.width)
        self.attention = ChainAttention(shape.width, shape.heads, n + 1)
        self.output_norm = Norm(shape.width)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the weighted sum, and as "first" and "rest" its terms before weighting, where they are computed."""
        chains = self.chains(trace)
        predictions = self.predictions(trace, chains)
        # An item after a token that is not known would be given a wrong one.
        given = (chains != IGNORED).cumprod(dim=-1).bool()

        def loss(item: int) -> Tensor:
            targets = trace.ahead(item + 1).masked_fill(~given[..., item], IGNORED)
            return token_loss(predictions[:, :, item], trace.unembedding, targets)

        terms = {}
        if self.first:
            terms["first"] = loss(0)
        if self.rest:
            terms["rest"] = torch.stack([loss(item) for item in range(1, self.n + 1)]).mean()
        weights = {"first": self.first, "rest": self.rest}
        return {"loss": torch.stack([weights[name] * term for name, term in terms.items()]).sum(), **terms}

    def chains(self, trace: Trace) -> Int[Tensor, "batch time items"]:
        """Return x_t … x_{t+n} for each t, `IGNORED` where a token is not known."""
        known = tokens_with_later(trace, self.n)
        missing = trace.tokens.shape[1] + self.n - known.shape[1]
        return F.pad(known, (0, missing), value=IGNORED).unfold(1, self.n + 1, 1)

    def predictions(self, trace: Trace, chains: Int[Tensor, "batch time items"]) -> Items:
        """Return what the output matrix turns into logits, item by item."""
        return self.along(trace.attached, F.embedding(chains.clamp_min(0), trace.unembedding))

    def along(self, states: Float[Tensor, "batch time width"], embeddings: Items) -> Items:
        """Run over the chain of each state, whose tokens have these embeddings."""
        state = states[:, :, None]
        mixed = self.attention(self.item_norm(embeddings + self.gain * state))
        skipped = torch.cat([mixed[:, :, :1], mixed[:, :, 1:] + state], dim=2)
        normed: Tensor = self.output_norm(skipped)
        return normed

    def drafter(self, unembedding: Float[Tensor, "vocabulary width"], context: int) -> _Drafter:
        """Return what guesses the tokens after the next one while a text is decoded, as many as were trained."""
        return _Drafter(self, unembedding)


class _Drafter:
    """Greedy guesses along the chain of the last state: each item is given the guess of the one before it."""

    def __init__(self, objective: JointMultiToken, unembedding: Float[Tensor, "vocabulary width"]) -> None:
        self._objective, self._unembedding = objective, unembedding

    def guess(self, states: Float[Tensor, "1 new width"], text: Int[Tensor, " known"]) -> Int[Tensor, " guesses"]:
        """Return guesses for the tokens that follow the text, whose last token no state has seen yet."""
        # The last state stands at the last token but one, where its chain begins.
        chain, known = text[-2:], 2
        for _ in range(self._objective.n if self._objective.rest else 0):
            items = self._objective.along(states[:, -1:], F.embedding(chain[None, None], self._unembedding))
            chain = torch.cat([chain, (items[0, :, -1] @ self._unembedding.T).argmax(dim=-1)])
        return chain[known:]
