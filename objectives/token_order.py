"""Token order prediction: rank the tokens of the vocabulary by how soon each comes next."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from deepsight.layers import Linear
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from objectives.heads import WindowEnd
from objectives.upcoming import Upcoming, summed_in_chunks


@objectives.register(
    "token_order",
    formula="-(1/T) Σ_t softmax(y_t / temperature) · log softmax(U_top h_t), y_tv = W - distance to the next v",
    source="Zuhri et al. (2025), TOP, algorithm 1",
)
class TokenOrder(Objective):
    """The list-wise ranking loss (ListNet; Cao et al., 2007) between an own output matrix and the coming order.

    A token v that comes next d positions after t has the score W - d where 0 < d <= W, and none otherwise; the target
    is the softmax of the scores over the tokens that have one. At temperature 1 its weights fall by 1/e with every
    position: what lies more than a few distinct tokens ahead hardly counts, whatever W is. A position with no token
    ahead counts as 0, and the mean is over all positions, as published.

    A target has at most W entries; it is kept as those, and the vocabulary's logits are held for one chunk of positions
    at a time. Training cost of each token, for width C and vocabulary V: 6 C V FLOPs (8 C V in batches of more than one
    chunk, whose logits are computed twice); C V parameters.

    Args:
        shape: of the model.
        window_size: W; the context when None.
        temperature: what the scores are divided by; published: 1.
        window: `trim` leaves out tokens past the model's window; `extend` reads W - 1 of those that follow it.

    """

    def __init__(
        self,
        shape: Shape,
        window_size: Annotated[int, Field(ge=1)] | None = None,
        temperature: Annotated[float, Field(gt=0.0)] = 1.0,
        window: WindowEnd = "trim",
    ) -> None:
        super().__init__()
        self.window_size = shape.context if window_size is None else window_size
        self.horizon = window_size
        self.temperature = temperature
        self.lookahead = self.window_size - 1 if window == "extend" else 0
        self.output = Linear(shape.width, shape.vocabulary)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the ranking loss."""
        upcoming, (batch, time) = Upcoming(trace), trace.targets.shape
        (total,) = summed_in_chunks(lambda rows: self._summed(trace, upcoming, rows), time, batch)
        return {"loss": total / (batch * time)}

    def _summed(self, trace: Trace, upcoming: Upcoming, rows: slice) -> Float[Tensor, " 1"]:
        tokens, distance, counts = upcoming.distinct(rows, 1, self.window_size)
        logits = self.output(trace.attached[:, rows])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = (-distance.to(logits.dtype) / self.temperature).where(counts, -torch.inf)
        # Without a token ahead, all scores are minus infinity and their softmax is no number.
        weights = scores.softmax(dim=-1).where(counts, 0.0)
        scored = logits.gather(-1, tokens[:, None].expand(counts.shape))
        losses: Tensor = logits.logsumexp(dim=-1) * counts.any(dim=-1) - (weights * scored).sum(dim=-1)
        return losses.sum()[None]
