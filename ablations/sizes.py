"""What a run's model costs, and the models of another width, depth or feed-forward width that cost nearly as much."""

from __future__ import annotations

import math
from typing import Literal

from ablations.solving import FARTHEST, ranked
from deepsight.building import build_model
from deepsight.config import USUAL_FEED_FORWARD, ModelConfig, RunConfig
from deepsight.counting import parameter_count, training_flops_per_token

Measure = Literal["parameters", "flops"]
Solved = Literal["width", "depth", "feed_forward"]

HEAD_WIDTH_RANGE = (0.75, 4 / 3)
"""How far a solved head width may lie from the written one, as a ratio."""

FEED_FORWARD_RANGE = (3, 5)
"""How wide a fine-tuned feed-forward layer may be inside, in widths of the residual stream."""


def inference_parameters(config: RunConfig) -> int:
    """Return the number of parameters that run at inference, positions included."""
    return parameter_count(build_model(config, "meta"))


def measured(config: RunConfig, by: Measure) -> int:
    """Return what a run has of what is compared."""
    return inference_parameters(config) if by == "parameters" else training_flops_per_token(config)


class Sizes:
    """Counts of one run with other models, each made once.

    Args:
        config: the run.
        by: what is counted.
        target: what the count should be.

    """

    def __init__(self, config: RunConfig, by: Measure, target: int) -> None:
        self.config, self.by, self.target = config, by, target
        self.written = config.model
        self._counted: dict[str, int] = {}

    def count(self, model: ModelConfig) -> int:
        """Return what the run has with this model, by the model's own count."""
        key = model.model_dump_json()
        if key not in self._counted:
            self._counted[key] = measured(self.config.model_copy(update={"model": model}), self.by)
        return self._counted[key]


def candidates(sizes: Sizes, solve: Solved) -> list[ModelConfig]:
    """Return models that differ from the written one in what is solved, the nearest to the target first."""
    if solve == "feed_forward":
        return [_with_feed_forward(sizes, sizes.written, 1, FARTHEST)]
    return _widths(sizes) if solve == "width" else _depths(sizes)


def _widths(sizes: Sizes) -> list[ModelConfig]:
    written = sizes.written
    least = 2 if written.positions == "rotary" else 1
    head_width = max(least, written.width / written.heads)
    cross_width = max(least, written.width / (written.cross_heads or written.heads))

    def with_width(width: int) -> ModelConfig | None:
        heads, cross_heads = _heads(width, head_width, least), _heads(width, cross_width, least)
        if heads is None or cross_heads is None:
            return None
        cross = cross_heads if written.cross_heads is not None else None
        return written.model_copy(update={"width": width, "heads": heads, "cross_heads": cross})

    def count(width: int) -> int:
        # Where heads do not fit, one head still shows how the count grows.
        one_head = {"width": width, "heads": 1, "cross_heads": written.cross_heads and 1}
        return sizes.count(with_width(width) or written.model_copy(update=one_head))

    # Most of a network grows with the square of its width, and one without width costs nothing.
    found = ranked(
        count,
        sizes.target,
        start=written.width,
        second=max(least, round(written.width * math.sqrt(sizes.target / sizes.count(written)))),
        degree=2,
        known={0: 0},
        low=least,
        fits=lambda width: with_width(width) is not None,
    )
    return [model for width in found if (model := with_width(width)) is not None]


def _heads(width: int, wanted: float, least: int) -> int | None:
    """Return the number of heads that divides `width` with the head width nearest to `wanted`, if any is near."""
    low, high = (wanted * bound for bound in HEAD_WIDTH_RANGE)
    possible = range(max(1, math.ceil(width / high)), math.floor(width / max(low, least)) + 1)
    fitting = [heads for heads in possible if width % heads == 0]
    return min(fitting, default=None, key=lambda heads: (abs(width / heads - wanted), heads))


def _depths(sizes: Sizes) -> list[ModelConfig]:
    written = sizes.written
    stacks = [written.layers] if isinstance(written.layers, int) else written.layers

    def with_depth(depth: int) -> ModelConfig:
        layers = depth if isinstance(written.layers, int) else _split(depth, stacks)
        return written.model_copy(update={"layers": layers})

    def count(depth: int) -> int:
        return sizes.count(with_depth(depth))

    start = sum(stacks)
    found = ranked(count, sizes.target, start, second=start + len(stacks), low=len(stacks))
    return [with_depth(depth) for depth in found]


def _split(depth: int, stacks: list[int]) -> list[int]:
    """Return `depth` layers in as many stacks, at least one in each, as nearly in their proportion as it goes."""
    wanted = [depth * layers / sum(stacks) for layers in stacks]
    found = [1] * len(stacks)
    for _ in range(depth - len(stacks)):
        least = max(range(len(stacks)), key=lambda place: wanted[place] - found[place])
        found[least] += 1
    return found


def extent(model: ModelConfig) -> int:
    """Return a number that grows with width and depth."""
    return model.width * (model.layers if isinstance(model.layers, int) else sum(model.layers))


def fine_tuned(sizes: Sizes, model: ModelConfig) -> ModelConfig:
    """Return the model with the inner width of its feed-forward layers tuned, unless the run names one."""
    if model.feed_forward is not None:
        return model
    return _with_feed_forward(sizes, model, *tuning_range(model))


def tuning_range(model: ModelConfig) -> tuple[int, int]:
    """Return the least and the greatest inner width that fine-tuning gives a model."""
    low, high = FEED_FORWARD_RANGE
    return low * model.width, high * model.width


def _with_feed_forward(sizes: Sizes, model: ModelConfig, low: int, high: int) -> ModelConfig:
    """Return the model with the inner width of its feed-forward layers that comes nearest to the target."""

    def with_inner(inner: int) -> ModelConfig:
        usual = inner == USUAL_FEED_FORWARD * model.width
        return model.model_copy(update={"feed_forward": None if usual else inner})

    def count(inner: int) -> int:
        return sizes.count(with_inner(inner))

    start = model.feed_forward_width
    towards = (start + model.width) if count(start) < sizes.target else max(1, start - model.width)
    return with_inner(ranked(count, sizes.target, start, second=towards, low=low, high=high)[0])
