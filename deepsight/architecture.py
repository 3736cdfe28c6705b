"""What every architecture offers: a trace for training, cached steps for generation, weights by named streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.config import ModelConfig
from deepsight.layers import LayerCache, TokenAndPosition
from deepsight.random_streams import derive
from deepsight.trace import Shape, Trace


class Architecture(nn.Module, ABC):
    """A language model that leaves a `Trace`.

    Subclasses register themselves and build the layers between the embedding and the final norm.

    Args:
        config: a normalised model configuration.
        vocabulary: number of token ids.

    """

    default_objective: ClassVar[str | None] = None
    """The objective of a run that names none."""

    def __init__(self, config: ModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.embedding = TokenAndPosition(vocabulary, config.context, config.width, config.dropout)

    @classmethod
    def normalised(cls, config: ModelConfig) -> ModelConfig:
        """Return the configuration with what this architecture derives filled in.

        Raises:
            UserError: the configuration does not fit the architecture.

        """
        return config

    @abstractmethod
    def states(
        self, embedded: Float[Tensor, "batch time width"], cache: list[LayerCache] | None = None
    ) -> tuple[Float[Tensor, "batch time width"], Float[Tensor, "batch time width"]]:
        """Return (encoder output, decoder output after the final norm) for embedded positions.

        With a cache, the positions continue those that the cache has seen.
        """

    @abstractmethod
    def new_cache(self) -> list[LayerCache]:
        """Return an empty cache, one part for each attention layer."""

    @property
    def shape(self) -> Shape:
        """The sizes that objectives are built from."""
        return Shape(self.vocabulary, self.config.width, self.config.context, self.config.heads)

    @property
    def unembedding(self) -> Float[Tensor, "vocabulary width"]:
        """The output matrix, tied to the token embedding."""
        return self.embedding.token.weight

    def forward(self, tokens: Int[Tensor, "batch time"], targets: Int[Tensor, "batch time"]) -> Trace:
        """Run the whole window once and leave what losses read."""
        embedded = self.embedding(tokens)
        encoder_output, decoder_output = self.states(embedded)
        return Trace(tokens, targets, embedded, encoder_output, decoder_output, self.unembedding)

    def logits(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocabulary"]:
        """Return all logits at once; for looking, not for training."""
        _, decoder_output = self.states(self.embedding(tokens))
        return decoder_output @ self.unembedding.T

    def next_logits(
        self, tokens: Int[Tensor, "batch new"], cache: list[LayerCache] | None = None
    ) -> Float[Tensor, "batch vocabulary"]:
        """Return the logits of the token that follows; with a cache, the tokens come after those that it has seen."""
        embedded = self.embedding(tokens, start=cache[0].length if cache else 0)
        _, decoder_output = self.states(embedded, cache)
        return decoder_output[:, -1] @ self.unembedding.T


def initialise(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Fill the weights of our layers in place, each from a stream named after the parameter.

    A parameter of the same name and shape starts equal in every arm of a study, whatever else the arm builds.
    Modules without an `initial_std` keep what their constructor gave them.

    Args:
        module: the network.
        seed: of the run.
        prefix: put before parameter names, to tell several modules of a run apart.

    """
    for name, part in module.named_modules():
        std = getattr(part, "initial_std", None)
        if std is None:
            continue
        weight = part.get_parameter("weight")
        generator = torch.Generator().manual_seed(derive(seed, "initialisation", f"{prefix}{name}.weight"))
        with torch.no_grad():
            weight.copy_(torch.empty(weight.shape).normal_(0.0, float(std), generator=generator))
