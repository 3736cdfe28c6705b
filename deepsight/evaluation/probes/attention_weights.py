"""The weights of attention, which the networks themselves never hold: computed again from queries and keys."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deepsight.layers import Attention, CrossAttention, SelfAttention, rotated

Weights = Float[Tensor, "heads queries keys"]


@dataclass(frozen=True)
class AttentionInputs:
    """What an attention layer attends with, in one pass over whole sequences.

    Attributes:
        query, key, value: of each head, turned where positions are rotary.
        causal: whether a query sees no key after its own.
        start: where the first query stands; the first key stands at 0.

    """

    query: Float[Tensor, "batch queries heads head_width"]
    key: Float[Tensor, "batch keys heads head_width"]
    value: Float[Tensor, "batch keys heads head_width"]
    causal: bool
    start: int

    @property
    def visible(self) -> Bool[Tensor, "queries keys"]:
        """Which keys each query sees."""
        everything = torch.ones(self.query.shape[1], self.key.shape[1], dtype=torch.bool, device=self.key.device)
        return everything.tril() if self.causal else everything

    @property
    def distances(self) -> Int[Tensor, "queries keys"]:
        """How many positions each key lies from each query, ahead or behind."""
        queries = self.start + torch.arange(self.query.shape[1], device=self.key.device)
        return (queries[:, None] - torch.arange(self.key.shape[1], device=self.key.device)).abs()

    def weights(self, sequence: int) -> Weights:
        """Return softmax(q kᵀ / √head_width) of one sequence (Vaswani et al., 2017, eq. 1)."""
        query, key = (states[sequence].transpose(0, 1) for states in (self.query, self.key))
        scores: Tensor = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5
        return scores.masked_fill(~self.visible, -torch.inf).softmax(dim=-1)


def attention_inputs(layer: Attention, given: tuple[Any, ...], named: dict[str, Any]) -> AttentionInputs:
    """Return what a layer attends with, from the arguments of its forward pass, which has no cache."""
    arguments = inspect.signature(layer.forward).bind(*given, **named).arguments
    hidden, start = arguments["hidden"], arguments.get("start") or 0
    assert arguments.get("cache") is None, "weights are those of whole sequences"
    if isinstance(layer, SelfAttention):
        query, key, value = layer.query_key_value(hidden).unflatten(-1, (3, layer.heads, -1)).unbind(dim=-3)
    else:
        assert isinstance(layer, CrossAttention)
        query = layer.query(hidden).unflatten(-1, (layer.heads, -1))
        key, value = layer.key_value(arguments["encoded"]).unflatten(-1, (2, layer.heads, -1)).unbind(dim=-3)
    if layer.rotary:
        query, key = rotated(query, start), rotated(key, 0)
    return AttentionInputs(query, key, value, layer.causal, start)


@dataclass(frozen=True)
class LayerOfAttention:
    """An attention layer and where it is.

    Attributes:
        layer: itself.
        kind: "self" or "cross".
        stack: the name of the list of layers that it is in, such as "decoder".
        number: its place there, counted from 1.

    """

    layer: Attention
    kind: str
    stack: str
    number: int


def attention_layers(model: nn.Module) -> list[LayerOfAttention]:
    """Return all attention layers that stand in lists of layers, in the network's order."""
    found = []
    for name, module in model.named_modules():
        place = re.match(r"(.+?)\.(\d+)\.", name)
        if isinstance(module, Attention) and place:
            kind = "cross" if isinstance(module, CrossAttention) else "self"
            found.append(LayerOfAttention(module, kind, place[1], int(place[2]) + 1))
    return found


class DistanceSums:
    """Sums up the weights of one attention layer by distance, over the queries that count.

    Attributes:
        weights: summed weights, (heads, distances).
        uniform: what they would be if every query gave all keys that it sees the same weight, (distances,).
        pairs: of a query and a key that it sees, (distances,).
        queries: how many counted.

    """

    def __init__(self, heads: int, most: int) -> None:
        self.weights = torch.zeros(heads, most, dtype=torch.double)
        self.uniform, self.pairs = torch.zeros(most, dtype=torch.double), torch.zeros(most, dtype=torch.double)
        self.queries = 0

    @torch.no_grad()
    def add(self, inputs: AttentionInputs, counted: Bool[Tensor, "batch queries"]) -> None:
        """Take in a batch."""
        distances, visible = inputs.distances.flatten().cpu(), inputs.visible.double().cpu()
        summed = torch.zeros(inputs.query.shape[2], *visible.shape, device=inputs.key.device)
        for sequence, row in enumerate(counted.to(inputs.key.device)):
            summed += inputs.weights(sequence) * row[:, None]
        number = counted.sum(dim=0).cpu()[:, None] * visible
        self.weights.index_add_(1, distances, summed.flatten(1).double().cpu())
        self.uniform.index_add_(0, distances, (number / visible.sum(dim=1, keepdim=True)).flatten())
        self.pairs.index_add_(0, distances, number.flatten())
        self.queries += int(counted.sum())


@contextlib.contextmanager
def summing(
    layers: list[LayerOfAttention], sums: list[DistanceSums], counted: Bool[Tensor, "batch time"]
) -> Iterator[None]:
    """Let the forward passes in this block add to the sums of each layer.

    Args:
        layers: of the network that runs.
        sums: of each.
        counted: which positions count; a layer may have the last of them only, and of one that sees what is ahead,
            which may read none of them, all positions count.

    """

    def watch(layer: Attention, into: DistanceSums) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            inputs = attention_inputs(layer, given, named)
            batch, queries = inputs.query.shape[:2]
            reads_all = isinstance(layer, SelfAttention) and not layer.causal
            into.add(inputs, torch.ones(batch, queries, dtype=torch.bool) if reads_all else counted[:, -queries:])

        return layer.register_forward_pre_hook(hook, with_kwargs=True)

    handles = [watch(place.layer, into) for place, into in zip(layers, sums, strict=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
