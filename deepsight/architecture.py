"""What every architecture offers: a trace for training, cached steps for generation, weights by named streams."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.config import ModelConfig
from deepsight.layers import Arrangement, LayerCache, TokenAndPosition
from deepsight.products import linear
from deepsight.trace import HasPlaces, Shape, Trace

Hidden = Float[Tensor, "batch time width"]


@dataclass(frozen=True)
class States(HasPlaces):
    """What the layers between embedding and unembedding leave.

    Attributes:
        encoder_output: what stands for an encoder's output (see `Trace`).
        decoder_output: after the final norm; logits are its products with the output matrix.
        layers: the residual stream after each layer.

    """

    encoder_output: Hidden
    decoder_output: Hidden
    layers: tuple[Hidden, ...]


class Architecture(nn.Module, ABC):
    """A language model that leaves a `Trace`.

    Subclasses register themselves and build the layers between the embedding and the final norm.

    Args:
        config: a normalised model configuration.
        vocabulary: number of token ids.

    """

    default_objective: ClassVar[str | None] = None
    """The objective of a run that names none."""

    takes_registers: bool = False
    """Whether `register_states` may be asked for: positions must meet in causal `Attention` alone."""

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        rotary = config.positions == "rotary"
        self.embedding = TokenAndPosition(vocabulary, config.context, config.width, config.dropout, rotary)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Return the configuration with what this architecture derives filled in.

        Raises:
            UserError: the configuration does not fit the architecture.

        """
        return config

    @classmethod
    def first_predicted(cls, config: ModelConfig) -> int:
        """Return the first position of a window, from 0, whose next token this architecture predicts."""
        return 0

    @classmethod
    def layer_count(cls, config: ModelConfig) -> int:
        """Return the number of layers whose states a trace holds."""
        return config.layers if isinstance(config.layers, int) else sum(config.layers)

    @abstractmethod
    def states(self, embedded: Hidden, cache: list[LayerCache] | None = None) -> States:
        """Return the states of embedded positions.

        With a cache, the positions continue those that the cache has seen.
        """

    @abstractmethod
    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache, one part for each attention layer."""

    def tokens_read(self, cache: list[LayerCache]) -> int:
        """Return how many tokens a cache has seen."""
        return cache[0].length

    def forget(self, cache: list[LayerCache], tokens: int) -> None:
        """Let a cache forget all that it has seen but the first `tokens` tokens."""
        for part in cache:
            part.truncate(tokens)

    def stacked_layers(self) -> list[nn.Module]:
        """Return the layers, in order: what stands in the network's lists of modules."""
        return [layer for stack in self.children() if isinstance(stack, nn.ModuleList) for layer in stack]

    @property
    def shape(self) -> Shape:
        """The sizes that objectives are built from."""
        config = self.config
        positions = config.context - self.first_predicted(config)
        return Shape(self.vocabulary, config.width, positions, config.heads, self.layer_count(config), config.positions)

    @property
    def unembedding(self) -> Float[Tensor, "vocabulary width"]:
        """The output matrix, tied to the token embedding."""
        return self.embedding.token.weight

    def forward(self, tokens: Int[Tensor, "batch time"], targets: Int[Tensor, "batch time"]) -> Trace:
        """Run the whole window once and leave what losses read."""
        embedded = self.embedding(tokens)
        states = self.states(embedded)
        return Trace(
            tokens,
            targets,
            embedded,
            states.encoder_output,
            states.decoder_output,
            self.unembedding,
            layers=states.layers,
            network=self.forward,
            registers=functools.partial(self.register_states, tokens) if self.takes_registers else None,
        )

    def register_states(
        self,
        tokens: Int[Tensor, "batch time"],
        register: Float[Tensor, " width"],
        places: Int[Tensor, "batch covered"],
    ) -> Float[Tensor, "batch covered width"]:
        """Return the last states of registers, one after each token that a trace covers.

        A register sees the tokens up to its own and itself; tokens see tokens alone, and are as they are without it.

        Args:
            tokens: a window.
            register: what stands in a token embedding's place.
            places: the position of each register, counted like the trace's from the first that is predicted; within the
                context.

        """
        first = self.first_predicted(self.config)
        time = tokens.shape[1] - first
        after = self.embedding.placed(register.expand(*places.shape, -1), places + first)
        row = torch.arange(time, device=tokens.device)
        earlier = row <= row[:, None]
        visible = torch.cat([earlier.repeat(2, 1), torch.cat([torch.zeros_like(earlier), row == row[:, None]])], dim=1)
        arrangement = Arrangement(torch.cat([row.expand_as(places), places], dim=1), visible)
        embedded = torch.cat([self.embedding(tokens), after], dim=1)
        states = self.states(embedded, self.arranged(arrangement))
        return states.decoder_output[:, time:]

    def arranged(self, arrangement: Arrangement) -> list[LayerCache]:
        """Return an arrangement of the positions that a trace covers, in the form of a cache."""
        return [arrangement for _ in self.new_cache()]

    def logits(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch predicted vocabulary"]:
        """Return all logits at once, of the positions from the first predicted on; for looking, not for training."""
        return linear(self.states(self.embedding(tokens)).decoder_output, self.unembedding)

    def next_logits(
        self, tokens: Int[Tensor, "batch new"], cache: list[LayerCache] | None = None
    ) -> Float[Tensor, "batch vocabulary"]:
        """Return the logits of the token that follows; with a cache, the tokens come after those that it has seen."""
        embedded = self.embedding(tokens, start=self.tokens_read(cache) if cache else 0)
        return linear(self.states(embedded, cache).decoder_output[:, -1], self.unembedding)
