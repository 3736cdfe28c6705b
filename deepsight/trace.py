"""What one forward pass leaves behind, for the losses that read it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

IGNORED = -100
"""The target of a position that counts in no token-level loss."""


@dataclass(frozen=True)
class Shape:
    """The sizes that an objective may need to build its own parameters."""

    vocabulary: int
    width: int
    context: int
    heads: int


@dataclass(frozen=True)
class Trace:
    """One forward pass: what went in, and the states that objectives may read.

    Attributes:
        tokens: the input.
        targets: the next token at each position, `IGNORED` where none counts.
        input_embeddings: token + position embeddings, after dropout.
        encoder_output: what the encoder hands to the bridge, before any norm; on an architecture without an encoder,
            the state after the layer that stands in its place.
        decoder_output: the last state, after the final norm; logits are ``decoder_output @ unembedding.T``.
        unembedding: the output matrix.

    """

    tokens: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]
    input_embeddings: Float[Tensor, "batch time width"]
    encoder_output: Float[Tensor, "batch time width"]
    decoder_output: Float[Tensor, "batch time width"]
    unembedding: Float[Tensor, "vocabulary width"]
