"""The sizes at which systems are held against each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """The sizes of a comparison.

    Attributes:
        name: a letter.
        vocabulary: number of token ids.
        context: tokens of a sequence.
        batch: sequences of a step.
        width, heads, cross_heads: of the encoder–decoders.
        layers: of encoder and decoder.
        decoder_only_width, decoder_only_heads: of decoder-only models, which have as many layers as both together.

    """

    name: str
    vocabulary: int
    context: int
    batch: int
    width: int
    heads: int
    cross_heads: int
    layers: tuple[int, int]
    decoder_only_width: int
    decoder_only_heads: int

    @property
    def depth(self) -> int:
        """Layers of a decoder-only model."""
        return sum(self.layers)

    def described(self) -> str:
        """Return the sizes in words."""
        width = f"{self.width}" if self.width == self.decoder_only_width else f"{self.width}/{self.decoder_only_width}"
        return (
            f"{self.name}: vocabulary {self.vocabulary:,}, width {width}, {self.layers[0]}+{self.layers[1]} or "
            f"{self.depth} layers, context {self.context}, batch {self.batch}"
        )


SHAPES = {
    "A": Shape("A", 50_257, 400, 4, 150, 5, 10, (13, 13), 160, 10),  # as published, less its batch
    "B": Shape("B", 4_096, 256, 16, 256, 8, 8, (4, 4), 256, 8),
}
