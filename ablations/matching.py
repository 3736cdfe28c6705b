"""Arms of equal size: the width that gives an architecture as many parameters as the base has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deepsight.building import build_model
from deepsight.config import ModelConfig, RunConfig
from deepsight.counting import parameter_count
from deepsight.errors import UserError

HEAD_WIDTH_RANGE = (0.75, 4 / 3)
"""How far a solved head width may lie from the base's, as a ratio."""


@dataclass(frozen=True)
class Match:
    """A solved model: its configuration, its inference parameters, and those it should have had."""

    model: ModelConfig
    parameters: int
    target: int

    @property
    def residual(self) -> float:
        """Relative difference to the target."""
        return self.parameters / self.target - 1

    def note(self) -> str:
        """Say what was solved, for the plan and the report."""
        heads = f"{self.model.heads} heads"
        return (
            f"width {self.model.width} with {heads}, solved to match {self.target:,} inference parameters: "
            f"{self.parameters:,} ({self.residual:+.2%})"
        )


def inference_parameters(config: RunConfig) -> int:
    """Return the number of parameters that run at inference, positions included."""
    return parameter_count(build_model(config, "meta"))


def matched(config: RunConfig, base: RunConfig) -> Match:
    """Return `config` with the width (and heads) whose inference parameters come nearest to the base's.

    Raises:
        UserError: no width near the target can be split into heads near the base's in width.

    """
    target = inference_parameters(base)

    def count(model: ModelConfig) -> int:
        return inference_parameters(config.model_copy(update={"model": model}))

    middle = _bisected(lambda width: count(_with_width(config.model, width, 1, 1)), target)
    reach = max(8, middle // 8)
    head_width = base.model.width / base.model.heads
    cross_width = base.model.width / (base.model.cross_heads or base.model.heads)
    candidates = []
    for width in range(max(1, middle - reach), middle + reach + 1):
        heads, cross_heads = _heads(width, head_width), _heads(width, cross_width)
        if heads is None or cross_heads is None:
            continue
        model = _with_width(config.model, width, heads, cross_heads)
        found = count(model)
        candidates.append((abs(found - target), width, Match(model, found, target)))
    best = min(candidates, default=None, key=lambda candidate: candidate[:2])
    if best is None:
        raise UserError(f"no width gives about {target:,} parameters with heads near {head_width:g} wide", ("match",))
    return best[2]


def _with_width(model: ModelConfig, width: int, heads: int, cross_heads: int) -> ModelConfig:
    cross = cross_heads if model.cross_heads is not None else None
    return model.model_copy(update={"width": width, "heads": heads, "cross_heads": cross})


def _bisected(count: Callable[[int], int], target: int) -> int:
    """Return the smallest width whose count reaches the target."""
    low, high = 1, 2
    while count(high) < target:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if count(middle) < target else (low, middle)
    return low


def _heads(width: int, wanted: float) -> int | None:
    """Return the number of heads that divides `width` with the head width nearest to `wanted`, if any is near."""
    low, high = (wanted * bound for bound in HEAD_WIDTH_RANGE)
    fitting = [heads for heads in range(1, width + 1) if width % heads == 0 and low <= width / heads <= high]
    return min(fitting, default=None, key=lambda heads: (abs(width / heads - wanted), heads))
