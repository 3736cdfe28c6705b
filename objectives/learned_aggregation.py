"""Aggregators that are trained with the model: which of the next n embeddings count is found, not chosen.

They learn from the same loss as the prediction, so they also turn to what is easy to predict; their diagnostics say
where they went. All begin as the mean of the next n embeddings, or near it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.plug_ins import aggregators
from objectives.aggregation import weighted_future, weighted_future_by_row

Embeddings = Float[Tensor, "batch time width"]
Future = Float[Tensor, "batch rows width"]
Tokens = Int[Tensor, "batch time"]


class _OverDistances(nn.Module):
    """What has a learned distribution over 1 … n: its logits, and what it shows of itself."""

    what: str

    def __init__(self, n: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n))

    def probabilities(self) -> Float[Tensor, " n"]:
        """Return the distribution."""
        return torch.softmax(self.logits, dim=0)

    def diagnostics(self) -> dict[str, Tensor]:
        """Return the distribution's mean, its entropy in nats, and each probability."""
        shares = self.probabilities().detach()
        values = torch.arange(1, len(shares) + 1, device=shares.device, dtype=shares.dtype)
        found = {f"expected_{self.what}": (shares * values).sum(), "entropy": torch.special.entr(shares).sum()}
        return found | {f"probability_{k}": share for k, share in enumerate(shares, start=1)}


@aggregators.register("learned_kernel", formula="F_i = Σₖ wₖ E_{i+k}, w = softmax(a), a trained", source="this project")
class LearnedKernel(_OverDistances):
    """The weighted mean of the next n embeddings, with one trained weight for each distance."""

    what = "distance"

    def forward(self, embeddings: Embeddings, tokens: Tokens | None = None) -> Future:
        """Aggregate the n positions after each row."""
        return weighted_future(embeddings, self.probabilities())


@aggregators.register(
    "learned_horizon",
    formula="F_i = Σₘ pₘ · mean(E_{i+1} … E_{i+m}), p = softmax(a), a trained, m = 1 … n",
    source="this project",
)
class LearnedHorizon(_OverDistances):
    """The mean of the next m embeddings, in expectation over a trained distribution of the horizon m = 1 … n.

    The weights never rise with the distance: that of E_{i+k} is Σ_{m≥k} pₘ/m.
    """

    what = "horizon"

    def forward(self, embeddings: Embeddings, tokens: Tokens | None = None) -> Future:
        """Aggregate the n positions after each row."""
        shares = self.probabilities()
        each = shares / torch.arange(1, len(shares) + 1, device=shares.device, dtype=shares.dtype)
        return weighted_future(embeddings, each.flip(0).cumsum(0).flip(0))


@aggregators.register(
    "depthwise_convolution",
    formula="F_{i,c} = Σₖ w_{k,c} E_{i+k,c}, w trained",
    source="this project; depthwise convolution after Sifre & Mallat (2014)",
)
class DepthwiseConvolution(nn.Module):
    """A trained kernel for each dimension, free in size and sign.

    Nothing but what follows keeps it from falling to zero: use it with a norm without gain or a normaliser.
    """

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.full((width, 1, n), 1 / n))

    def forward(self, embeddings: Embeddings, tokens: Tokens | None = None) -> Future:
        """Aggregate the n positions after each row."""
        ahead = embeddings[:, 1:].transpose(1, 2)
        return F.conv1d(ahead, self.kernel.to(ahead.dtype), groups=ahead.shape[1]).transpose(1, 2)


@aggregators.register(
    "attention_pooling",
    formula="F_i = Σₖ a_{ik} E_{i+k}, a_i = softmaxₖ(q·E_{i+k} / √C), q trained",
    source="Yang et al. (2016), eq. 6, 7, with the embeddings as keys",
)
class AttentionPooling(nn.Module):
    """The mean of the next n embeddings, each weighted by how well it fits a trained query."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.n = n
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, embeddings: Embeddings, tokens: Tokens | None = None) -> Future:
        """Aggregate the n positions after each row."""
        scores = embeddings[:, 1:] @ self.query.to(embeddings.dtype) / embeddings.shape[-1] ** 0.5
        return weighted_future_by_row(embeddings, torch.softmax(scores.unfold(1, self.n, 1), dim=-1))
