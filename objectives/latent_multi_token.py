"""Latent semantic enhancement of multi-token prediction: what the heads say is tied to the states to come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from deepsight.objective import Term
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Shape, Trace
from objectives.averaging import mean_where
from objectives.heads import WindowEnd
from objectives.multi_token import MultiToken
from objectives.token_loss import token_loss

Hidden = Float[Tensor, "batch time width"]
Scalar = Float[Tensor, ""]
Weight = Annotated[float, Field(ge=0.0)]


@objectives.register(
    "latent_multi_token",
    formula="Σ_{a=2…n} CE(U f_a(h)_t, x_{t+a}) + λ_l mse(f_a(h)_t, sg h_{t+a-1}) + λ_s mse(f_a(h)_t, sg E[x_{t+a}])",
    source="Zhong et al. (2026), arXiv 2604.06155, LSE-MTP",
)
class LatentMultiToken(MultiToken):
    """Multi-token prediction whose heads also reach for the state that foretells the same token, and for that token.

    A head that foretells x_{t+a} from the state at t is pulled, beside its cross-entropy, towards the network's last
    state at t + a - 1, from which x_{t+a} is the next token, and towards that token's embedding. Both are targets
    alone: no gradient reaches them. Squared errors are averaged over the width.

    Parameters and cost are those of `multi_token` with the same heads: the two squared errors need about 6 C FLOPs
    more a head and token, nothing beside the logits.

    The heads' losses are added. A position counts where x_{t+a} counts; in the first squared error, where the state at
    t + a - 1 stands in the window too.

    Args:
        shape: of the model.
        n: tokens predicted, the next one included; with 1 nothing is added.
        head: `block` is a transformer block and a norm; `linear` a square matrix.
        latent: λ_l, weight of the squared error to the state.
        semantic: λ_s, weight of the squared error to the token's embedding.
        window: `trim` leaves out targets past the window; `extend` reads the tokens that follow it.

    Raises:
        UserError: in no window of the context does the last head have a target.

    """

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 4,
        head: Literal["block", "linear"] = "block",
        latent: Weight = 0.1,
        semantic: Weight = 0.1,
        window: WindowEnd = "trim",
    ) -> None:
        super().__init__(shape, n=n, head=head, window=window)
        self.latent = latent
        self.semantic = semantic

    def terms(self, trace: Trace) -> Iterator[Term]:
        """Yield each head's loss, and its three parts for the record."""
        for ahead, head in enumerate(self.heads, start=2):
            # One term a head: its three parts share the graph of one forward pass.
            said = head(trace.attached)
            tokens = token_loss(said, trace.unembedding, trace.ahead(ahead))
            latent, semantic = _to_state(trace, said, ahead), _to_token(trace, said, ahead)
            yield Term(f"ahead_{ahead}", tokens + self.latent * latent + self.semantic * semantic)
            for name, part in (("tokens", tokens), ("latent", latent), ("semantic", semantic)):
                yield Term(f"ahead_{ahead}_{name}", part.detach(), 0.0)


def _to_state(trace: Trace, said: Hidden, ahead: int) -> Scalar:
    """Return the squared error to the states from which the same tokens are the next."""
    target = trace.decoder_output.detach()[:, ahead - 1 :]
    rows = target.shape[1]
    counts = trace.ahead(ahead)[:, :rows] != IGNORED
    return mean_where((said[:, :rows] - target).square().mean(dim=-1), counts)


def _to_token(trace: Trace, said: Hidden, ahead: int) -> Scalar:
    """Return the squared error to the embeddings of the foretold tokens."""
    tokens = trace.ahead(ahead)
    counts = tokens != IGNORED
    target = F.embedding(tokens.where(counts, 0), trace.unembedding.detach())
    return mean_where((said - target).square().mean(dim=-1), counts)
