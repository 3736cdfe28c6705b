"""The encoder output that a decoder reads, replaced at inference by what knows no later token.

A replacement is laid over forward passes by hooks; the encoder itself runs as ever.
"""

from __future__ import annotations

import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepsight.architecture import Architecture
from deepsight.blocks import DecoderBlock
from deepsight.evaluation.probes.attention_weights import attention_inputs
from deepsight.layers import CrossAttention, Encoded, Hidden
from deepsight.model import CausalEncoderDecoder

Given = tuple[Any, ...]
Named = dict[str, Any]


class Replacement(ABC):
    """What stands in the place of the encoder output."""

    @abstractmethod
    def at_bridge(self, encoded: Encoded) -> Encoded:
        """Return what the bridge reads."""

    @abstractmethod
    def at_layer(self, block: DecoderBlock) -> RemovableHandle:
        """Let the cross-attention of a decoder layer read it until the handle is removed."""


@dataclass(frozen=True)
class Swapped(Replacement):
    """Other vectors at the same positions.

    Args:
        vectors: what stands there. Sequence i reads row i modulo their number; past their last position, that one.

    """

    vectors: Encoded

    def at_bridge(self, encoded: Encoded) -> Encoded:
        """Return the other vectors at the positions of the encoder output."""
        sequences = torch.arange(encoded.shape[0], device=encoded.device) % self.vectors.shape[0]
        positions = torch.arange(encoded.shape[1], device=encoded.device).clamp_max(self.vectors.shape[1] - 1)
        return self.vectors[sequences[:, None], positions]

    def at_layer(self, block: DecoderBlock) -> RemovableHandle:
        """Let the layer, whose norm comes after, read the other vectors."""

        def hook(_: nn.Module, given: Given, named: Named) -> tuple[Given, Named]:
            call = inspect.signature(block.forward).bind(*given, **named)
            call.arguments["encoded"] = self.at_bridge(call.arguments["encoded"])
            return call.args, call.kwargs

        return block.register_forward_pre_hook(hook, with_kwargs=True)


class Shuffled(Replacement):
    """The outputs that each position sees, in an order of its own.

    The only order of all outputs in which no position comes to see a later one is the order that they have; and
    attention without rotary positions does not know the order of what it reads. So each position t has a random order
    π_t of what it sees: its cross-attention gives the weight of output s to output π_t(s), and its bridge reads output
    π_t(t). All that was visible still is, and the weights are what they were; which output gets them is left to chance.

    Args:
        context: most positions of a sequence.
        seed: of the orders.

    """

    def __init__(self, context: int, seed: int) -> None:
        self.context, self.seed = context, seed
        self._known: dict[int | None, Tensor] = {}

    def at_bridge(self, encoded: Encoded) -> Encoded:
        """Return for each position the output of a random one up to it."""
        time = encoded.shape[1]
        return encoded[:, self._orders(time, time, causal=True).diagonal().to(encoded.device)]

    def at_layer(self, block: DecoderBlock) -> RemovableHandle:
        """Let the values change their places under the weights."""

        def hook(layer: CrossAttention, given: Given, named: Named, _: Hidden) -> Hidden:
            inputs = attention_inputs(layer, given, named)
            orders = self._orders(inputs.query.shape[1], inputs.key.shape[1], causal=layer.causal)
            mixed = []
            for sequence, value in enumerate(inputs.value):
                weights = inputs.weights(sequence)
                moved = torch.zeros_like(weights)
                moved.scatter_(-1, orders.to(weights.device).expand_as(weights), weights)
                mixed.append((moved @ value.transpose(0, 1)).transpose(0, 1))
            output: Tensor = layer.dropout(layer.output(torch.stack(mixed).flatten(-2)))
            return output

        return block.cross_attention.register_forward_hook(hook, with_kwargs=True)

    def _orders(self, queries: int, keys: int, *, causal: bool) -> Int[Tensor, "queries keys"]:
        """Return the orders of the first positions, whatever number of them there is."""
        size = None if causal else keys
        if size not in self._known:
            self._known[size] = random_orders(self.context, size or self.context, self.seed, causal=causal)
        return self._known[size][:queries, :keys]


def random_orders(queries: int, keys: int, seed: int, *, causal: bool) -> Int[Tensor, "queries keys"]:
    """Return a random order of keys for each query.

    Args:
        queries: how many; where they see only part of the keys, as many as keys.
        keys: how many.
        seed: of the orders.
        causal: whether a query sees the keys up to its own; row t then begins with an order of 0 … t, and the later
            keys follow in their places.

    """
    numbers = torch.rand(queries, keys, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    if causal:
        row = torch.arange(keys)
        numbers = torch.where(row <= row[:, None], numbers, 1.0 + row)
    return numbers.argsort(dim=1)


@dataclass(frozen=True)
class Reader:
    """A part of the network that reads the encoder output.

    Attributes:
        label: how tables name it.
        layers: the decoder layers whose cross-attention is meant.
        bridge: what the encoder output goes through on its way to the decoder's input, where that is meant too.

    """

    label: str
    layers: tuple[DecoderBlock, ...]
    bridge: nn.Module | None = None


def decoder_layers(model: Architecture) -> tuple[DecoderBlock, ...]:
    """Return the layers that attend to an encoder output, in the network's order."""
    return tuple(module for module in model.modules() if isinstance(module, DecoderBlock))


def whole_readers(model: Architecture) -> list[Reader]:
    """Return all cross-attention together, the bridge, and all that reads the encoder output."""
    layers, bridge = decoder_layers(model), _bridge(model)
    found = [Reader("cross_attention", layers)]
    if bridge is not None:
        found += [Reader("bridge", (), bridge), Reader("everything", layers, bridge)]
    return found


def single_readers(model: Architecture) -> list[Reader]:
    """Return the cross-attention of each decoder layer."""
    return [Reader(f"decoder layer {place}", (layer,)) for place, layer in enumerate(decoder_layers(model), start=1)]


@contextlib.contextmanager
def replacing(replacement: Replacement, reader: Reader) -> Iterator[None]:
    """Let a part of a network read something else than the encoder output in the forward passes of this block.

    No pass may have a cache.
    """
    handles = [replacement.at_layer(layer) for layer in reader.layers]
    if reader.bridge is not None:
        handles.append(reader.bridge.register_forward_pre_hook(lambda _, given: (replacement.at_bridge(given[0]),)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def encoder_outputs(model: Architecture, inputs: Int[Tensor, "batch time"]) -> Encoded:
    """Return what the decoder of a network with cross-attention reads of some sequences, before any norm."""
    found: list[Encoded] = []

    def hook(block: nn.Module, given: Given, named: Named) -> None:
        found.append(inspect.signature(block.forward).bind(*given, **named).arguments["encoded"])

    handle = decoder_layers(model)[0].register_forward_pre_hook(hook, with_kwargs=True)
    try:
        model.states(model.embedding(inputs.to(model.unembedding.device)))
    finally:
        handle.remove()
    return found[0]


def _bridge(model: Architecture) -> nn.Module | None:
    """Return the first module between the encoder output and the decoder's input."""
    if not isinstance(model, CausalEncoderDecoder):
        return None
    norm: nn.Module | None = getattr(model, "bridge_norm", None)
    return model.bridge if norm is None else norm
