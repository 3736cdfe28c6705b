"""Belief state: from a state of the past and one of the future, the tokens that stand at both edges of the gap."""

from __future__ import annotations

import itertools
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.blocks import Block
from deepsight.layers import Embedding, Linear, Norm, residual_std
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Place, Shape, Trace
from objectives.token_loss import token_loss

Count = Annotated[int, Field(ge=1)]
States = Float[Tensor, "batch time width"]
Tokens = Int[Tensor, "batch time"]
Indices = Int[Tensor, " pairs"]
PairTokens = Int[Tensor, "batch pairs"]


class SuffixEncoder(nn.Module):
    """Causal layers that read from right to left: a state for each suffix, from the empty one to x₂ … x_T.

    A learned vector stands before the last token, and its state is that of the empty suffix. Positions are rotary, so
    that a suffix reads alike wherever it stands.
    """

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.start = Embedding(1, width)
        std = residual_std(layers)
        self.blocks = nn.ModuleList(Block(width, heads, 0.0, std, rotary=True) for _ in range(layers))
        self.norm = Norm(width)

    def forward(self, embeddings: States) -> States:
        """Return G, (B, T, C): row i (from zero) has read the tokens from position i + 1 to the end."""
        backward = embeddings[:, 1:].flip(1)
        start = self.start.weight.to(backward.dtype).expand(backward.shape[0], 1, -1)
        hidden = torch.cat([start, backward], dim=1)
        for block in self.blocks:
            hidden = block(hidden)
        states: Tensor = self.norm(hidden).flip(1)
        return states


class TextHead(nn.Module):
    """A multi-layer perceptron from [F; G] to what the output matrix turns into the next and the previous token."""

    def __init__(self, width: int, inner_width: int, layers: int) -> None:
        super().__init__()
        widths = [2 * width, *[inner_width] * (layers - 1), 2 * width]
        self.maps = nn.ModuleList(Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(widths))

    def forward(self, pairs: Float[Tensor, "batch pairs two_widths"]) -> tuple[Tensor, Tensor]:
        """Return two vectors for each pair, (B, pairs, C)."""
        first, *rest = self.maps
        hidden = first(pairs)
        for part in rest:
            hidden = part(F.gelu(hidden))
        following, previous = hidden.chunk(2, dim=-1)
        return following, previous


@objectives.register(
    "belief_state",
    formula="-mean over t < s of [log P(x_{t+1} | F(x_{1:t}), G(x_{s:T})) + log P(x_{s-1} | F(x_{1:t}), G(x_{s:T}))]",
    source="Hu et al. (2025), arXiv 2410.23506, Belief State Transformer",
)
class BeliefState(Objective):
    """Next and previous token of pairs of a prefix x₁ … x_t and a suffix x_s … x_T, t < s, with the empty suffix.

    F is the network's own state; G comes from a second encoder of this objective, which sees the suffix alone. A head
    reads both, and its two halves are the tokens after the prefix and before the suffix, through the network's output
    matrix. The gradient goes into F, so the network's state has to tell apart whatever matters to any continuation.

    All T·(T+1)/2 pairs of a window of T are too many where it is long; `pairs` of them are drawn at every step, without
    repetition and the same in each sequence, which leaves the expected loss as it is. A pair does not count where a
    document ends between its two edges (from x_{t+1} to x_{s-2}); a token in a prompt is no target.

    The paper's prefix may be empty; here a network has no state before its first token. The paper's model predicts
    with the head, given G of the empty suffix or of a goal; here both are gone after training, and the network
    predicts as it always does, so that no objective changes inference. The two encoders share token embeddings and
    output matrix with the network.

    Extra parameters, with C the width, L the layers of the second encoder, W the inner width and m the maps of the
    head (m ≥ 2): L·(12·C² + 2·C) + 2·C + 4·C·W + (m - 2)·W². Extra FLOPs forward, per window of T with P pairs:
    L·(24·C² + 4·C·T) · T + P · (8·C·W + 2·(m - 2)·W² + 4·C·V) over a vocabulary of V. Memory grows with P.

    Args:
        shape: of the model.
        pairs: drawn in each sequence at every step; all when not given.
        layers: of the second encoder; as many as the network's when not given, as published.
        head_width: W; the network's width when not given.
        head_layers: m, the linear maps of the head, with GELUs between.

    """

    attach: ClassVar[Place | None] = "decoder"

    def __init__(
        self,
        shape: Shape,
        pairs: Count | None = 128,
        layers: Count | None = None,
        head_width: Count | None = None,
        head_layers: Annotated[int, Field(ge=2)] = 3,
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.suffixes = SuffixEncoder(shape.width, shape.heads, layers or shape.layers)
        self.head = TextHead(shape.width, head_width or shape.width, head_layers)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the sum of the two mean cross-entropies, and each, in nats."""
        last, row = self.drawn_pairs(trace.tokens.shape[1], trace.tokens.device)
        backward = self.suffixes(trace.token_embeddings)
        following, previous = self.head(torch.cat([trace.attached[:, last], backward[:, row]], dim=-1))
        following_token, previous_token = _targets(trace, last, row)
        terms = {
            "next": token_loss(following, trace.unembedding, following_token),
            "previous": token_loss(previous, trace.unembedding, previous_token),
        }
        return {"loss": terms["next"] + terms["previous"], **terms}

    def drawn_pairs(self, time: int, device: torch.device) -> tuple[Indices, Indices]:
        """Return pairs (t, r), t ≤ r < T from zero: the prefix ends with position t, the suffix starts after r."""
        last, row = torch.triu_indices(time, time, device=device)
        if self.pairs is None or self.pairs >= len(last):
            return last, row
        drawn = torch.randperm(len(last), device=device)[: self.pairs]
        return last[drawn], row[drawn]


def _targets(trace: Trace, last: Indices, row: Indices) -> tuple[PairTokens, PairTokens]:
    """Return the token after each prefix and the token before each suffix, `IGNORED` where it does not count."""
    known = F.pad(trace.targets[:, :-1], (1, 0), value=IGNORED)
    following, previous = trace.targets[:, last], known[:, row]
    if trace.end_of_text is None:
        return following, previous
    # ends[i] is the number of documents that end before position i; tokens t + 1 … r - 1 lie between the edges.
    ends = F.pad((trace.tokens == trace.end_of_text).long().cumsum(dim=1), (1, 0))
    crosses = ends[:, row] > ends[:, last + 1]
    return following.masked_fill(crosses, IGNORED), previous.masked_fill(crosses, IGNORED)
