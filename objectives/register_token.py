"""Register tokens: a learned token after each real one, seen by nothing else, predicts a token further ahead."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from deepsight.errors import UserError
from deepsight.layers import Embedding
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import Place, Shape, Trace
from objectives.token_loss import token_loss


@objectives.register(
    "register_token",
    formula="-log P(x_{t+d} | x_{1:t}, register at position t + d - 1)",
    source="Gerontopoulos et al. (2025), arXiv 2505.10518, MuToR",
)
class RegisterToken(Objective):
    """Cross-entropy of x_{t+d} at a register that stands after x_t, with d drawn for each sequence.

    A register is one learned embedding. It sees the real tokens up to x_t and itself, and has the position of the token
    before the one that it predicts, t + d - 1; this alone tells it how far to look. Real tokens never see registers:
    the next-token logits are as they are without them, and registers can be left out after training.

    The network runs once more, on the tokens with the registers beside them; a coefficient of a / (1 - a) is the
    paper's weight a. The paper draws one d for a batch, here each sequence has its own: the sum of its tokens, plus one
    number drawn at every step, modulo `furthest`. So d changes from step to step and from sequence to sequence, and
    not with the order of sequences.

    In myopic training (`training.myopic`) a register is a position of its own, and all tokens are earlier ones: its
    loss teaches the register and the layers, by what they do at it, and reaches no state of a token.

    Extra parameters: the width C. Extra FLOPs: those of the network's layers, forward and backward, on twice as many
    positions, attention's pairs four times, and of the output matrix once more.

    Args:
        shape: of the model.
        furthest: largest d.

    """

    attach: ClassVar[Place | None] = None

    def __init__(self, shape: Shape, furthest: Annotated[int, Field(ge=1)] = 4) -> None:
        super().__init__()
        self.horizon = self.furthest = furthest
        self.register_embedding = Embedding(1, shape.width)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the registers whose tokens count, in nats.

        Raises:
            UserError: the network takes no registers.

        """
        if trace.registers is None:
            raise UserError(
                "this architecture takes no registers: its positions meet elsewhere than in causal attention"
            )
        distances = self.distances(trace.tokens)
        time = torch.arange(trace.tokens.shape[1], device=trace.tokens.device)
        # Where a position would lie past the window, so does the target, which does not count.
        places = (time + distances - 1).clamp_max(len(time) - 1)
        states = trace.registers(self.register_embedding.weight[0], places)
        return {"loss": token_loss(states, trace.unembedding, self.targets(trace, distances))}

    def distances(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch 1"]:
        """Return d for each sequence, 1 … `furthest`."""
        drawn = torch.randint(self.furthest, (), device=tokens.device)
        return (tokens.sum(dim=1, keepdim=True) + drawn) % self.furthest + 1

    def targets(self, trace: Trace, distances: Int[Tensor, "batch 1"]) -> Int[Tensor, "batch time"]:
        """Return x_{t+d} for each position, `IGNORED` where it does not count."""
        ahead = torch.stack([trace.ahead(d) for d in range(1, self.furthest + 1)], dim=1)
        return ahead.take_along_dim(distances[..., None] - 1, dim=1)[:, 0]
