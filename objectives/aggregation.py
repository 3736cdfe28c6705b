"""Aggregators: the next n embeddings become one future vector.

Each is a module built with the horizon `n` and, where it takes them, the `width` C and the model's `shape`;
``forward(embeddings (B, T, C), tokens) -> (B, T - n, C)``, where row i aggregates positions i + 1 … i + n. Tokens
(B, T) are ids, for aggregators that weigh words by what they are; most read the embeddings alone. Here are those that
are not trained; learned_aggregation.py has the others.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.plug_ins import aggregators

BLOCK = 64
"""Rows computed by one matrix product: the weights held are BLOCK × (BLOCK + n - 1), whatever the sequence length."""


def weighted_future(
    embeddings: Float[Tensor, "batch time width"], weights: Float[Tensor, " n"]
) -> Float[Tensor, "batch rows width"]:
    """Return Σₖ weights[k-1] · embeddings[:, i + k] for k = 1 … n, one row for each i with n positions after it.

    The sequence is cut into overlapping blocks and each is multiplied by the same small banded matrix: the cost hardly
    depends on n, and nothing of size time × time is built.
    """
    n = len(weights)
    row = torch.arange(BLOCK, device=weights.device)[:, None]
    offset = torch.arange(BLOCK + n - 1, device=weights.device)[None] - row
    inside = (offset >= 0) & (offset < n)
    band = torch.where(inside, weights[offset.clamp(0, n - 1)], 0.0).to(embeddings.dtype)
    return _in_blocks(embeddings, band, n)


def weighted_future_by_row(
    embeddings: Float[Tensor, "batch time width"], weights: Float[Tensor, "batch rows n"]
) -> Float[Tensor, "batch rows width"]:
    """Return Σₖ weights[:, i, k-1] · embeddings[:, i + k]: like `weighted_future`, with weights of each row's own."""
    batch, rows, n = weights.shape
    blocks = -(-rows // BLOCK)
    padded = F.pad(weights.to(embeddings.dtype), (0, BLOCK, 0, blocks * BLOCK - rows))
    # Rows that are one shorter than they were: each begins one place further right than the row above it.
    skewed = padded.reshape(batch, blocks, -1)[..., : BLOCK * (BLOCK + n - 1)]
    return _in_blocks(embeddings, skewed.reshape(batch, blocks, BLOCK, -1), n)


def _in_blocks(
    embeddings: Float[Tensor, "batch time width"], band: Float[Tensor, "*blocks block columns"], n: int
) -> Float[Tensor, "batch rows width"]:
    """Multiply blocks of what lies ahead, each BLOCK + n - 1 positions, by one banded matrix or by one each."""
    time = embeddings.shape[1]
    rows = time - n
    blocks = -(-rows // BLOCK)
    padded = F.pad(embeddings[:, 1:], (0, 0, 0, max(0, blocks * BLOCK + n - time)))
    windows = padded.unfold(1, BLOCK + n - 1, BLOCK)
    return torch.matmul(band, windows.transpose(-1, -2)).flatten(1, 2)[:, :rows]


class FixedKernel(nn.Module):
    """An aggregator whose weights depend on the distance alone and are not trained."""

    weights: Tensor

    def __init__(self, weights: Float[Tensor, " n"]) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)

    def forward(
        self, embeddings: Float[Tensor, "batch time width"], tokens: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch rows width"]:
        """Aggregate the n positions after each row."""
        return weighted_future(embeddings, self.weights)


def _distances(n: int) -> Float[Tensor, " n"]:
    # In float64: a model in float64 must not meet weights that were rounded to float32.
    return torch.arange(1, n + 1, dtype=torch.float64)


@aggregators.register("average", formula="F_i = (1/n) Σₖ E_{i+k}", source="the original DeepSight (2024), AVG")
class Average(FixedKernel):
    """The mean of the next n embeddings."""

    def __init__(self, n: int) -> None:
        super().__init__(torch.full_like(_distances(n), 1 / n))


@aggregators.register("decay", formula="F_i = Σₖ (1/k) E_{i+k}", source="the original DeepSight (2024), DECAY")
class Decay(FixedKernel):
    """The sum of the next n embeddings, each divided by its distance; the published choice."""

    def __init__(self, n: int) -> None:
        super().__init__(1 / _distances(n))


@aggregators.register(
    "normalized_decay",
    formula="F_i = Σₖ (1/k) E_{i+k} / Σₖ (1/k)",
    source="the original DeepSight (2024), DECAY_W_NORMALIZE",
)
class NormalizedDecay(FixedKernel):
    """The weighted mean of the next n embeddings, with weights falling as one over the distance."""

    def __init__(self, n: int) -> None:
        weights = 1 / _distances(n)
        super().__init__(weights / weights.sum())


@aggregators.register(
    "exponential", formula="F_i = Σₖ wₖ E_{i+k}, wₖ = e^{-rate·k} / Σ e^{-rate·j}", source="this project"
)
class Exponential(FixedKernel):
    """The weighted mean of the next n embeddings, with weights falling by the factor e^-rate at each position."""

    def __init__(self, n: int, rate: Annotated[float, Field(ge=0.0)] = 0.5) -> None:
        super().__init__(torch.softmax(-rate * _distances(n), dim=0))


@aggregators.register("linear", formula="F_i = Σₖ wₖ E_{i+k}, wₖ = (n + 1 - k) / Σ j", source="this project")
class LinearDecay(FixedKernel):
    """The weighted mean of the next n embeddings, with weights falling in a straight line to zero after the last."""

    def __init__(self, n: int) -> None:
        weights = n + 1 - _distances(n)
        super().__init__(weights / weights.sum())


@aggregators.register(
    "gaussian",
    formula="F_i = Σₖ wₖ E_{i+k}, wₖ ∝ e^{-(k - centre)² / (2 spread²)}, Σ wₖ = 1",
    source="this project",
)
class Gaussian(FixedKernel):
    """The weighted mean of the next n embeddings, with weights that are largest around one distance.

    Args:
        n: horizon.
        centre: the distance with the largest weight, in positions; the middle of 1 … n when not given.
        spread: the standard deviation, in positions; a quarter of n when not given.

    """

    def __init__(
        self, n: int, centre: float | None = None, spread: Annotated[float, Field(gt=0.0)] | None = None
    ) -> None:
        middle = (n + 1) / 2 if centre is None else centre
        width = n / 4 if spread is None else spread
        super().__init__(torch.softmax(-(((_distances(n) - middle) / width) ** 2) / 2, dim=0))


@aggregators.register("window", formula="F_i = mean of E_{i+first} … E_{i+last}", source="this project")
class Window(FixedKernel):
    """The mean of a part of the next n embeddings; all of them where nothing is given.

    Args:
        n: horizon.
        first: the nearest distance that counts; 2 leaves out what next-token prediction asks for.
        last: the furthest; n when not given.

    Raises:
        UserError: there is no such distance, or none between the two.

    """

    def __init__(self, n: int, first: Annotated[int, Field(ge=1)] = 1, last: int | None = None) -> None:
        end = n if last is None else last
        if end > n:
            raise UserError(f"the window ends at the distance {end}, beyond the horizon {n}", ("last",))
        if first > end:
            raise UserError(f"the window begins at the distance {first}, after its end {end}", ("first",))
        distances = _distances(n)
        super().__init__(((distances >= first) & (distances <= end)).double() / (end - first + 1))


@aggregators.register("last", formula="F_i = E_{i+n}", source="this project")
class Last(FixedKernel):
    """The embedding n positions ahead, alone."""

    def __init__(self, n: int) -> None:
        super().__init__((_distances(n) == n).double())


@aggregators.register("maximum", formula="F_i = max(E_{i+1}, …, E_{i+n}), in each dimension", source="this project")
class Maximum(nn.Module):
    """The largest value of each dimension among the next n embeddings."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(
        self, embeddings: Float[Tensor, "batch time width"], tokens: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch rows width"]:
        """Aggregate the n positions after each row."""
        return F.max_pool1d(embeddings[:, 1:].transpose(1, 2), self.n, stride=1).transpose(1, 2)
