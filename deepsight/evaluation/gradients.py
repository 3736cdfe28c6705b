"""The gradient of each loss alone, on the network's weights, layer by layer."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.data.batches import Batch
from deepsight.initialisation import own_stream
from deepsight.loss import next_token_loss
from deepsight.objectives_of_run import Objectives
from deepsight.trace import IGNORED
from deepsight.training.seam import Seam

WHOLE = "all layers"
"""How rows name all weights of the network together."""
UNNAMED = ("blocks", "layers")
"""Lists of layers that need no name beside the number."""

Weights = Sequence[Tensor]
"""A tensor for each weight of the network that is trained, in the order of `trained_weights`."""


@dataclass(frozen=True)
class Layer:
    """Some of the network's weights.

    Attributes:
        name: "embedding", "encoder layer 1", "bridge", "decoder layer 1", "final norm"; "layer 1" where there is no
            encoder; "all layers".
        depth: from 0, in the order in which the network lists them; None of all together.
        weights: their places in `trained_weights`.

    """

    name: str
    depth: int | None
    weights: tuple[int, ...]


@dataclass(frozen=True)
class Gradients:
    """The gradients of one batch, coefficients applied.

    Attributes:
        next_token: of the mean next-token loss.
        objectives: label → of coefficient · loss.

    """

    next_token: list[Tensor]
    objectives: dict[str, list[Tensor]]


def trained_weights(model: Architecture) -> dict[str, nn.Parameter]:
    """Return the weights of a network that are trained, by name; a tied one once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def layers_of(model: Architecture) -> list[Layer]:
    """Return the layers that have weights, and at last all together.

    A weight that is tied counts where it is named first: the output matrix in the embedding.
    """
    found: dict[str, list[int]] = {}
    for place, name in enumerate(trained_weights(model)):
        found.setdefault(_layer_name(name), []).append(place)
    layers = [Layer(name, depth, tuple(places)) for depth, (name, places) in enumerate(found.items())]
    return [*layers, Layer(WHOLE, None, tuple(place for layer in layers for place in layer.weights))]


def gradients_of(
    model: Architecture,
    objectives: Objectives,
    batch: Batch,
    coefficients: Mapping[str, float],
    at_once: int | None = None,
) -> Gradients:
    """Differentiate next-token loss and each objective apart, in evaluation mode, without a trace left behind.

    Neither the ``.grad`` of a weight nor torch's random numbers nor a training mode is other afterwards than before.

    Args:
        model, objectives: as they are; an objective whose coefficient is zero does not run.
        batch: on the model's device.
        coefficients: of each objective.
        at_once: sequences that go through the network together; all when not given.

    Raises:
        UserError: an objective fails, with the file and line of it.

    """
    weights = list(trained_weights(model).values())
    next_token = [torch.zeros_like(weight) for weight in weights]
    own = {label: [torch.zeros_like(weight) for weight in weights] for label in objectives.parts}
    rows = at_once or len(batch.inputs)
    counted = 0
    with _undisturbed(model, objectives), torch.enable_grad():
        for number, start in enumerate(range(0, len(batch.inputs), rows)):
            inputs, targets, later = (None if part is None else part[start : start + rows] for part in batch)
            trace = dataclasses.replace(model(inputs, targets), later=later)
            first = batch.targets.shape[1] - trace.targets.shape[1]
            counted = counted or int((batch.targets[:, first:] != IGNORED).sum())
            seam = Seam(trace)
            share = int((trace.targets != IGNORED).sum()) / counted
            _add(next_token, _through(seam, [share * next_token_loss(seam.trace)], weights))
            for label in objectives.parts:
                if (scale := coefficients[label] * len(trace.tokens) / len(batch.inputs)) != 0:
                    objectives.draw(label, 0, number)
                    with objectives.failing_well(label):
                        _add(own[label], _through(seam, _losses(objectives, label, seam, scale), weights))
    return Gradients(next_token, own)


def compared(own: Weights, next_token: Weights, layers: Sequence[Layer]) -> list[tuple[Layer, dict[str, float | None]]]:
    """Compare a gradient with that of next-token loss, layer by layer.

    Returns:
        Each layer with `norm`, ‖g‖; `next_token_norm`, ‖n‖; `share`, ‖g‖ / (‖g‖ + ‖n‖); and `cosine`, that of the angle
        between the two. What is no finite number, as the cosine with a gradient of zero, is None.

    """
    squares = [[_dot(one, other) for one, other in zip(*pair, strict=True)]
               for pair in ((own, own), (next_token, next_token), (own, next_token))]  # fmt: skip
    found = []
    for layer in layers:
        mine, theirs, product = (float(sum(values[place] for place in layer.weights)) for values in squares)
        norm, other = math.sqrt(mine), math.sqrt(theirs)
        numbers = {
            "norm": norm,
            "next_token_norm": other,
            "share": _ratio(norm, norm + other),
            "cosine": _ratio(product, norm * other),
        }
        found.append((layer, {name: _finite(value) for name, value in numbers.items()}))
    return found


def _through(seam: Seam, losses: Iterable[Tensor], weights: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradient of the sum of some losses on the weights: one after another down to the seam, then once."""
    leaves = [place for place, leaf in enumerate(seam.leaves) if leaf.requires_grad]
    arriving: dict[int, Tensor] = {}
    total = [torch.zeros_like(weight) for weight in weights]
    for loss in losses:
        if not loss.requires_grad:
            continue
        read = [seam.leaves[place] for place in leaves]
        # The network's graph is read again by the next loss, where a loss looks past the seam.
        found = torch.autograd.grad(loss, [*read, *weights], retain_graph=True, allow_unused=True)
        for place, gradient in zip(leaves, found[: len(leaves)], strict=True):
            if gradient is not None:
                arriving[place] = arriving[place] + gradient if place in arriving else gradient
        _add(total, found[len(leaves) :])
    if arriving:
        states = [seam.states[place] for place in arriving]
        _add(total, torch.autograd.grad(states, weights, list(arriving.values()), retain_graph=True, allow_unused=True))
    return total


def _losses(objectives: Objectives, label: str, seam: Seam, scale: float) -> Iterator[Tensor]:
    """Yield the terms of one objective's loss, as they count."""
    for term in objectives.terms(label, seam.trace):
        if term.weight != 0:
            yield scale * term.weight * term.loss


def _add(total: list[Tensor], found: Sequence[Tensor | None]) -> None:
    for sum_so_far, gradient in zip(total, found, strict=True):
        if gradient is not None:
            sum_so_far += gradient


@contextlib.contextmanager
def _undisturbed(model: Architecture, objectives: Objectives) -> Iterator[None]:
    before = [(module, module.training) for module in (*model.modules(), *objectives.modules())]
    model.eval()
    objectives.eval()
    try:
        with own_stream(0, "gradients"):
            yield
    finally:
        for module, mode in before:
            module.training = mode


def _layer_name(weight: str) -> str:
    part, _, rest = weight.partition(".")
    number, named = rest.partition(".")[0], part.replace("_", " ")
    if not number.isdigit():
        return named
    return f"layer {int(number) + 1}" if part in UNNAMED else f"{named} layer {int(number) + 1}"


def _dot(one: Tensor, other: Tensor) -> float:
    return float((one.double() * other.double()).sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
