"""Future summary prediction with a bag of words: which tokens come in a window ahead, in any order."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.layers import Linear
from deepsight.objective import Objective, Preparation
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from objectives.heads import BlockHead, WindowEnd
from objectives.upcoming import Upcoming, summed_in_chunks


@objectives.register(
    "bag_of_words",
    formula="-Σ_v w(v) [a_v log σ(z_v) + (1 - a_v) log(1 - σ(z_v))], a_v = 1 if v is in x_{t+first} … x_{t+tau}",
    source="Mahajan et al. (2025), FSP-BoW, arXiv 2510.14751",
)
class BagOfWords(Objective):
    """Binary cross-entropy over the vocabulary: whether each token is in the window ahead.

    Summed over the vocabulary as published, and averaged over the positions with at least one token in their window; at
    the end of a text the window is what is left of it. Where the head sits matters: on the state that predicts the next
    token (the default) it can teach to plan, on an encoder's output far less.

    The output matrix is the head's own. Its bias starts at the log-odds of each token's frequency in the corpus, so
    that the first steps do not go into learning that most tokens are absent. The bag is kept as its distinct tokens,
    and the vocabulary's logits are held for one chunk of positions at a time.

    Training cost of each token, for width C, vocabulary V and model window T: 6 C V FLOPs (8 C V in batches of more
    than one chunk, whose logits are computed twice) and C V + V parameters; with a block also 72 C² + 14 T C and
    12 C² + 3 C. The window's length costs next to nothing.

    Args:
        shape: of the model.
        tau: where the window ends.
        first: where it begins; published: 2, after the next token.
        weighting: w: `idf` is the negative log of the token's frequency in the corpus, one added to each count, scaled
            to a mean of 1 over the vocabulary; `none` is 1.
        head: `linear` reads the state itself; `block` has a transformer block and a norm before the output matrix.
        window: `trim` leaves out tokens past the model's window; `extend` reads tau - 1 of those that follow it.

    Raises:
        UserError: the window ends before it begins, or begins past every window of the context.

    """

    weights: Tensor

    def __init__(
        self,
        shape: Shape,
        tau: Annotated[int, Field(ge=1)] = 12,
        first: Annotated[int, Field(ge=1)] = 2,
        weighting: Literal["idf", "none"] = "idf",
        head: Literal["linear", "block"] = "linear",
        window: WindowEnd = "trim",
    ) -> None:
        super().__init__()
        if tau < first:
            raise UserError(f"the window begins at {first}, so it cannot end at {tau}", ("tau",))
        if window == "trim" and first > shape.context:
            raise UserError(f"the window begins past a context of {shape.context}, at {first}", ("first",))
        self.first, self.tau, self.weighting = first, tau, weighting
        self.horizon = tau
        self.lookahead = tau - 1 if window == "extend" else 0
        self.head = BlockHead(shape) if head == "block" else nn.Identity()
        self.output = Linear(shape.width, shape.vocabulary)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        self.register_buffer("weights", torch.ones(shape.vocabulary))

    def prepare(self, preparation: Preparation) -> None:
        """Take the weights of the tokens, and the first bias, from the corpus."""
        counts = preparation.count_tokens().double() + 1
        rarity = counts.sum().log() - counts.log()
        # log(1 - (1 - f)^m): the chance that a token of frequency f is among m tokens drawn.
        absent = (self.tau - self.first + 1) * torch.log1p(-torch.exp(-rarity))
        with torch.no_grad():
            self.bias.copy_(torch.log(-torch.expm1(absent)) - absent)
            if self.weighting == "idf":
                self.weights.copy_(rarity / rarity.mean())

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the mean over positions."""
        upcoming, hidden, (batch, time) = Upcoming(trace), self.head(trace.attached), trace.targets.shape
        total, counted = summed_in_chunks(lambda rows: self._summed(hidden, upcoming, rows), time, batch)
        return {"loss": total / counted.clamp_min(1)}

    def _summed(
        self, hidden: Float[Tensor, "batch time width"], upcoming: Upcoming, rows: slice
    ) -> Float[Tensor, " 2"]:
        """Return the sum over some positions, and how many of them have a token in their window."""
        tokens, _, counts = upcoming.distinct(rows, self.first, self.tau)
        logits = self.output(hidden[:, rows]) + self.bias
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # a log σ(z) + (1 - a) log(1 - σ(z)) = a z - softplus(z)
        absent = F.softplus(logits) @ self.weights.to(logits.dtype)
        present = logits.gather(-1, tokens[:, None].expand(counts.shape)) * self.weights[tokens][:, None] * counts
        counted = counts.any(dim=-1)
        losses = (absent - present.sum(dim=-1)) * counted
        return torch.stack([losses.sum(), counted.sum().to(losses.dtype)])
