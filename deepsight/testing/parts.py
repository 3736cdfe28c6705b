"""The contracts of an objective's parts: aggregators, merges, targets, predictors, normalisers and distances."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from deepsight.errors import UserError, line_in
from deepsight.objective import Preparation
from deepsight.plug_ins import REGISTRIES
from deepsight.testing.systems import ContractError, System
from deepsight.yaml_files import dump_yaml, parse_yaml

ROWS, TIME = 2, 9
NARROW = 6
"""A target's width other than the network's."""


class Part:
    """A component that is checked, with a network to build it for.

    Args:
        kind: of the component, such as "aggregator".
        spec: as written in a configuration.

    """

    def __init__(self, kind: str, spec: object) -> None:
        self.registry = next(registry for registry in REGISTRIES if registry.kind == kind)
        self.spec = self.registry.resolve(spec)
        self.component = self.registry[str(self.spec["name"])]
        self.network = System("deepsight").network()
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(self.network.vocabulary, (ROWS, TIME + 3), generator=generator)
        self.vectors = torch.randn(2, ROWS, TIME, self.network.config.width, generator=generator)

    def build(self, **supplied: Any) -> Any:
        """Build the component and let it look at the network and its corpus."""
        built = self.registry.build(self.spec, **supplied)
        counts = torch.arange(1, self.network.vocabulary + 1)
        for module in built.modules() if isinstance(built, nn.Module) else ():
            if callable(prepare := getattr(module, "prepare", None)):
                prepare(Preparation(self.network, lambda: counts.clone(), seed=0))
        return built

    def need(self, holds: bool, sentence: str) -> None:
        """Raise where something does not hold; the sentence goes on after the component's name."""
        if not holds:
            raise ContractError(f"{self.component.location}: the {self._name} {sentence}")

    def need_vectors(self, found: object, shape: tuple[int, ...]) -> None:
        """Check that something is a finite tensor of a shape."""
        self.need(isinstance(found, Tensor), f"must give a tensor, not {type(found).__name__}")
        assert isinstance(found, Tensor)
        self.need(found.shape == shape, f"must give the shape {shape}, not {tuple(found.shape)}")
        self.need(bool(torch.isfinite(found).all()), "gives values that are not finite")

    @contextlib.contextmanager
    def failing_well(self) -> Iterator[None]:
        """Turn what the component's code raises into one sentence with its line."""
        try:
            yield
        except (UserError, ContractError):
            raise
        except Exception as error:
            place = line_in(self.component.file, error) or self.component.location
            reason = str(error).strip().partition("\n")[0]
            raise ContractError(f"{place}: the {self._name} fails: {type(error).__name__}: {reason}") from error

    @property
    def _name(self) -> str:
        return f"{self.component.kind} {self.component.name!r}"


def check_part(kind: str, spec: object) -> None:
    """Check a component that is a part of objectives.

    Raises:
        ContractError: it does not keep its contract; with its file and line.
        UserError: its spec does not fit.

    """
    part = Part(kind, spec)
    with part.failing_well():
        again = part.registry.resolve(parse_yaml(dump_yaml(part.spec), part.component.name))
        part.need(again == part.spec, f"is {part.spec} before and {again} after YAML")
        PART_CHECKS[kind](part)


def check_aggregator(part: Part) -> None:
    """``(embeddings (B, T, C), tokens) -> (B, T - n, C)``; row i reads positions i + 1 … i + n alone."""
    width = part.network.config.width
    for n in (1, 3):
        aggregator = part.build(n=n, width=width, shape=part.network.shape)
        embeddings = part.vectors[0].clone().requires_grad_()
        rows = aggregator(embeddings, part.tokens[:, :TIME])
        part.need_vectors(rows, (ROWS, TIME - n, width))
        for row in range(TIME - n):
            (gradient,) = torch.autograd.grad(rows[:, row].square().sum(), embeddings, retain_graph=True)
            read = set(gradient.abs().sum(dim=(0, 2)).nonzero().flatten().tolist())
            wrong = sorted(read - set(range(row + 1, row + n + 1)))
            part.need(not wrong, f"reads position {wrong[:1]} for row {row}, whose next {n} are {row + 1} to {row + n}")


def check_merge(part: Part) -> None:
    """``(present (B, P, C), future (B, P, C), n) -> (B, P, C)``."""
    present, future = part.vectors
    part.need_vectors(part.build()(present=present, future=future, n=3), tuple(present.shape))


def check_target(part: Part) -> None:
    """``(trace, later) -> (B, T + later, width)``, without gradients to the network."""
    target = part.build(shape=part.network.shape)
    part.need(isinstance(getattr(target, "width", None), int), "must have a `width`, the size of its vectors")
    for later in (0,) if getattr(target, "inside_only", False) else (0, 2):
        trace = part.network(part.tokens[:, :TIME], part.tokens[:, 1 : TIME + 1])
        known = part.tokens[:, TIME + 1 : TIME + later] if later > 1 else None
        vectors = target(type(trace)(**{**vars(trace), "later": known}), later)
        part.need_vectors(vectors, (ROWS, TIME + later, target.width))
        if vectors.requires_grad:
            own = [weight for weight in target.parameters() if weight.requires_grad]
            weights = list(part.network.parameters())
            found = torch.autograd.grad(vectors.square().sum(), weights + own, allow_unused=True)
            reached = any(gradient is not None and bool(gradient.any()) for gradient in found[: len(weights)])
            part.need(not reached, "sends a gradient to the network: detach its vectors")


def check_predictor(part: Part) -> None:
    """``(B, P, width) -> (B, P, target_width)``, with a gradient for what goes in and for every parameter."""
    width = part.network.config.width
    for target_width in (width, NARROW):
        try:
            predictor = part.build(width=width, target_width=target_width)
        except UserError:
            # One without parameters can give nothing but the width that it gets.
            if target_width == width:
                raise
            continue
        states = part.vectors[0].clone().requires_grad_()
        predictions = predictor(states)
        part.need_vectors(predictions, (ROWS, TIME, target_width))
        _check_learning(part, predictions.square().mean(), predictor, states)


def check_normaliser(part: Part) -> None:
    """``(B, P, D) -> (B, P, D)``, without trained parameters."""
    normaliser = part.build(width=part.network.config.width)
    part.need_vectors(normaliser(part.vectors[0]), tuple(part.vectors[0].shape))
    trained = [name for name, weight in normaliser.named_parameters() if weight.requires_grad]
    part.need(not trained, f"has trained parameters: {', '.join(trained)}")


def check_distance(part: Part) -> None:
    """``(prediction (B, P, C), target (B, P, C)) -> scalar``: it repeats, learns, and is least at the target."""
    distance = part.build()
    prediction, target = part.vectors[0].clone().requires_grad_(), part.vectors[1].clone()
    kept = prediction.detach().clone(), target.clone()
    loss = distance(prediction=prediction, target=target)
    part.need_vectors(loss, ())
    _check_learning(part, loss, distance, prediction)
    untouched = torch.equal(prediction.detach(), kept[0]) and torch.equal(target, kept[1])
    part.need(untouched, "changes what it compares, in place")
    torch.manual_seed(0)
    first = distance(prediction=prediction, target=target)
    torch.manual_seed(0)
    part.need(torch.equal(first, distance(prediction=prediction, target=target)), "does not repeat with one seed")
    at_target = distance(prediction=target, target=target)
    part.need(
        bool(at_target < loss), f"is {float(at_target):.4g} at the target and {float(loss.detach()):.4g} elsewhere"
    )


def _check_learning(part: Part, loss: Tensor, module: object, given: Tensor) -> None:
    named = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}
    weights = {name: weight for name, weight in named.items() if weight.requires_grad}
    part.need(loss.requires_grad, "lets no gradient through")
    own, *others = torch.autograd.grad(loss, [given, *weights.values()], allow_unused=True, retain_graph=True)
    part.need(own is not None and bool(torch.isfinite(own).all()), "has a gradient that is missing or not finite")
    idle = [name for name, gradient in zip(weights, others, strict=True) if gradient is None]
    part.need(not idle, f"has a parameter {idle[:1]} that nothing depends on")


PART_CHECKS: dict[str, Callable[[Part], None]] = {
    "target": check_target,
    "aggregator": check_aggregator,
    "merge": check_merge,
    "predictor": check_predictor,
    "normaliser": check_normaliser,
    "distance": check_distance,
}
"""Kind → check, for every kind of part."""
