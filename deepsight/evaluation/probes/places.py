"""The places of a network whose states probes read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

import torch

from deepsight.architecture import Architecture, Hidden
from deepsight.errors import UserError
from deepsight.model import CausalEncoderDecoder
from deepsight.trace import Trace

ProbedPlace: TypeAlias = Literal["encoder", "bridge", "decoder"] | dict[Literal["layer"], int]
"""Where a probe reads: as an objective attaches, or the bridge, which is the decoder's input."""


Read = TypeVar("Read")


def place_label(place: ProbedPlace) -> str:
    """Return how tables name a place: "encoder", "bridge", "layer 3", "decoder"."""
    return f"layer {place['layer']}" if isinstance(place, dict) else place


def every_place(model: Architecture) -> list[ProbedPlace]:
    """Return the places that a network has, in the order in which it computes them."""
    layers: list[ProbedPlace] = [{"layer": layer} for layer in range(1, model.shape.layers + 1)]
    encoder = layer_of_encoder(model)
    if encoder is None:
        return ["encoder", *layers, "decoder"]
    bridge: list[ProbedPlace] = ["bridge"] if isinstance(model, CausalEncoderDecoder) else []
    return [*layers[:encoder], "encoder", *bridge, *layers[encoder:], "decoder"]


@torch.no_grad()
def layer_of_encoder(model: Architecture) -> int | None:
    """Return the layer, counted from 1, whose state the encoder output is; None where it is no layer's."""
    tokens = torch.zeros(1, model.first_predicted(model.config) + 1, dtype=torch.long, device=model.unembedding.device)
    trace = model(tokens, tokens)
    return next((at for at, state in enumerate(trace.layers, start=1) if state is trace.encoder_output), None)


def by_place(
    model: Architecture, places: Sequence[ProbedPlace] | None, read: Callable[[ProbedPlace], Read]
) -> Iterator[tuple[str, Read]]:
    """Yield the label of each place and what was read there; the same state is not read twice.

    Args:
        model: the network.
        places: to read at; all where it is None.
        read: reads at one place.

    """
    encoder = layer_of_encoder(model)
    known: dict[str, Read] = {}
    for place in every_place(model) if places is None else places:
        label = place_label(place)
        state = f"layer {encoder}" if label == "encoder" and encoder is not None else label
        if state not in known:
            known[state] = read(place)
        yield label, known[state]


def check_places(places: Sequence[ProbedPlace], model: Architecture) -> None:
    """Refuse places that a network does not have.

    Raises:
        UserError: with those that it has.

    """
    if not places:
        raise UserError("a probe needs a place to read; null means all of them", ("places",))
    for position, place in enumerate(places):
        if isinstance(place, dict) and not 1 <= place.get("layer", 0) <= model.shape.layers:
            asked = f"layer {place['layer']}" if place else "such place"
            raise UserError(f"there is no {asked}; the network has {model.shape.layers}", ("places", position))
        if place == "bridge" and not isinstance(model, CausalEncoderDecoder):
            raise UserError(f"the architecture {model.config.architecture_name} has no bridge", ("places", position))


def state_at(model: Architecture, trace: Trace, place: ProbedPlace) -> Hidden:
    """Return the state at a place of what a network has left of a batch."""
    if place == "bridge":
        assert isinstance(model, CausalEncoderDecoder)
        return model.bridged(trace.encoder_output, 0)
    return trace.at(place)  # type: ignore[arg-type]
