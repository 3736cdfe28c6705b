"""What one forward pass leaves behind, for the losses that read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

IGNORED = -100
"""The target of a position that counts in no token-level loss."""

Hidden = Float[Tensor, "batch time width"]

Place = str | dict[str, int]
"""Where an objective attaches: "encoder", "decoder", or {"layer": k} for the state after layer k, counted from 1."""


@dataclass(frozen=True)
class Shape:
    """What an objective may need to know of the network to build its own parameters.

    Attributes:
        vocabulary: number of token ids.
        width: of every state.
        context: most positions that a trace has.
        heads: of self-attention.
        layers: states in `Trace.layers`.
        positions: `learned` ones are part of the input embeddings; `rotary` ones are not.

    """

    vocabulary: int
    width: int
    context: int
    heads: int
    layers: int = 1
    positions: Literal["learned", "rotary"] = "learned"


class HasPlaces:
    """What has states at the places where an objective may attach."""

    encoder_output: Hidden
    decoder_output: Hidden
    layers: tuple[Hidden, ...]

    def at(self, place: Place) -> Hidden:
        """Return the state at a place."""
        if isinstance(place, dict):
            return self.layers[place["layer"] - 1]
        return {"encoder": self.encoder_output, "decoder": self.decoder_output}[place]


@dataclass(frozen=True)
class Trace(HasPlaces):
    """One forward pass: what went in, and the states that objectives may read.

    Attributes:
        tokens: the input.
        targets: the next token at each position, `IGNORED` where none counts.
        input_embeddings: token + position embeddings, after dropout.
        encoder_output: what the encoder hands to the bridge, before any norm; on an architecture without an encoder,
            the state after the layer that stands in its place.
        decoder_output: the last state, after the final norm; logits are ``decoder_output @ unembedding.T``.
        unembedding: the output matrix, tied to the token embedding.
        layers: the residual stream after each layer, first to last (an encoder's layers before a decoder's).
        state: the state at the place where the objective that reads this trace attaches.
        later: the tokens after the last target, as many as the objective asked for (its `lookahead`); `IGNORED` where
            the text has ended.
        end_of_text: the id that ends each document, if the text has documents.
        network: runs the same network on other (tokens, targets) at this trace's positions and returns the trace, for
            objectives that need a forward pass of their own; its gradients reach the network directly.
        registers: runs the network on this trace's tokens with a register after each (`Architecture.register_states`);
            None on an architecture that takes none.
        prefix: the tokens of the window before `tokens`, on an architecture that leaves states of later positions only.

    """

    tokens: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]
    input_embeddings: Hidden
    encoder_output: Hidden
    decoder_output: Hidden
    unembedding: Float[Tensor, "vocabulary width"]
    layers: tuple[Hidden, ...] = ()
    state: Hidden | None = None
    later: Int[Tensor, "batch later"] | None = None
    end_of_text: int | None = None
    network: Callable[..., Any] | None = None
    registers: Callable[..., Any] | None = None
    prefix: Int[Tensor, "batch before"] | None = None

    @property
    def attached(self) -> Hidden:
        """The state at the objective's place; the decoder output where nobody chose one."""
        return self.decoder_output if self.state is None else self.state

    @property
    def token_embeddings(self) -> Hidden:
        """The embeddings of the input tokens alone, without positions and dropout."""
        return F.embedding(self.tokens, self.unembedding)

    def ahead(self, k: int) -> Int[Tensor, "batch time"]:
        """Return x_{t+k} for each position t, from k = 1 on; `IGNORED` where it does not count.

        It does not count past the window and the tokens in `later`, where x_{t+k} is itself no next-token target (it
        belongs to a prompt), and where a document ends between x_{t+1} and x_{t+k}.
        """
        known = self.targets if self.later is None else torch.cat([self.targets, self.later], dim=1)
        time = self.targets.shape[1]
        rows = max(0, min(time, known.shape[1] - (k - 1)))
        found = known[:, k - 1 : k - 1 + rows]
        if self.end_of_text is not None and k > 1:
            # A prompt has no targets, but its tokens end documents all the same.
            read = torch.cat([self.tokens[:, 1:], known[:, time - 1 :]], dim=1)
            ends = F.pad((read == self.end_of_text).long().cumsum(dim=1), (1, 0))
            crosses = ends[:, k - 1 : k - 1 + rows] > ends[:, :rows]
            found = found.masked_fill(crosses, IGNORED)
        return F.pad(found, (0, time - rows), value=IGNORED)
