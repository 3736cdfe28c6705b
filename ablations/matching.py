"""Arms of equal size: the width, depth or feed-forward width that gives a run as much as another one has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import Field

from ablations.sizes import Measure, Sizes, Solved, candidates, extent, fine_tuned, measured, tuning_range
from deepsight.config import ModelConfig, RunConfig
from deepsight.errors import UserError, suggestion
from deepsight.validation import Strict, validated

UNITS: dict[Measure, str] = {"parameters": "inference parameters", "flops": "training FLOPs per token"}

TOLERANCE_LIMIT = 0.5
"""Runs that differ by so much are not of equal size."""

CANDIDATES = 8
"""How many widths or depths are fine-tuned before none is said to be within the tolerance."""


class ModelMatch(Strict):
    """What `match` of an arm's model asks for.

    Attributes:
        by: `parameters` are those that run at inference; `flops` are those of training per token, objectives included.
        within: largest relative residual.
        solve: what is changed to get there. Where `width` or `depth` alone does not get within the tolerance, the inner
            width of the feed-forward layers is tuned too, between three and five times the width, unless the run names
            it.

    """

    by: Measure
    within: float = Field(default=0.01, gt=0.0, lt=TOLERANCE_LIMIT)
    solve: Solved = "width"


@dataclass(frozen=True)
class Match:
    """A solved model, what it has, and what it should have.

    Attributes:
        model: the solved configuration.
        by: what is compared.
        found: of the solved model, by its own count.
        target: of the run that it is matched with.
        target_name: of that run.
        written: the configuration before.

    """

    model: ModelConfig
    by: Measure
    found: int
    target: int
    target_name: str
    written: ModelConfig

    @property
    def residual(self) -> float:
        """Relative difference to the target."""
        return self.found / self.target - 1

    def note(self) -> str:
        """Say what was solved, for the plan and the report."""
        goal = f"the {self.target:,} {UNITS[self.by]} of {self.target_name!r}: {self.found:,} ({self.residual:+.2%})"
        if self.model == self.written:
            return f"as it is written, it matches {goal}"
        return f"{self.solution()}, solved to match {goal}"

    def solution(self) -> str:
        """Name what differs from the written model."""
        model, written = self.model, self.written
        parts = []
        if model.width != written.width:
            cross = model.cross_heads if model.cross_heads != model.heads else None
            heads = f"{model.heads} head{'s' if model.heads > 1 else ''}"
            heads += f" ({cross} of cross-attention)" if cross else ""
            parts.append(f"width {model.width} with {heads}")
        if model.layers != written.layers:
            parts.append(f"layers {model.layers}")
        if model.feed_forward != written.feed_forward:
            parts.append(f"feed-forward layers {model.feed_forward_width} wide inside")
        return " and ".join(parts) or "the model as it is written"


def model_match(written: Any) -> ModelMatch:
    """Return what is written for `match` in an arm's model: a measure, or a mapping with `by`, `within` and `solve`.

    Raises:
        UserError: it is something else; the path begins with "match".

    """
    try:
        if isinstance(written, str):
            if written not in UNITS:
                raise UserError(f"unknown value {written!r}{suggestion(written, UNITS)}")
            return validated(ModelMatch, {"by": written})
        if not isinstance(written, Mapping):
            known = " or ".join(UNITS)
            raise UserError(f"match is {known}, or a mapping with by, within and solve, not {written!r}")
        return validated(ModelMatch, written)
    except UserError as error:
        raise error.within("match") from None


def matched_model(config: RunConfig, target: RunConfig, match: ModelMatch, target_name: str = "base") -> Match:
    """Return the model of `config`, changed as little as it takes to have what `target` has.

    A model that fits as it is written stays so. Otherwise the width (or depth) nearest to the target is chosen; heads
    keep the width that is written, as nearly as they can, and stacks of layers their split. Where that is not within
    the tolerance, the inner width of the feed-forward layers takes up the rest.

    Raises:
        UserError: nothing is within the tolerance; the path is ("match",).

    """
    sizes = Sizes(config, match.by, measured(target, match.by))

    def matched(model: ModelConfig) -> Match:
        return Match(model, match.by, sizes.count(model), sizes.target, target_name, config.model)

    written = best = matched(config.model)
    if abs(written.residual) <= match.within:
        return written
    # What is wider or deeper than one that is too large, tuned as far as that goes, is too large as well.
    too_small, too_large = 0.0, math.inf
    for model in candidates(sizes, match.solve)[:CANDIDATES]:
        if not too_small < extent(model) < too_large:
            continue
        found = matched(model)
        if match.solve != "feed_forward" and abs(found.residual) > match.within:
            found = matched(fine_tuned(sizes, model))
            if model.feed_forward is not None or found.model.feed_forward in tuning_range(model):
                too_small = extent(model) if found.residual < 0 else too_small
                too_large = extent(model) if found.residual > 0 else too_large
        best = min(best, found, key=lambda one: abs(one.residual))
        if abs(best.residual) <= match.within:
            return best
    raise UserError(_nothing_within(best, match), ("match",))


def _nothing_within(best: Match, match: ModelMatch) -> str:
    ways = [f"solve: {way}" for way in get_args(Solved) if way != match.solve]
    if match.solve != "feed_forward" and best.written.feed_forward is not None:
        ways.insert(0, "leave feed_forward out, so that it is tuned too")
    if abs(best.residual) < TOLERANCE_LIMIT:
        ways.append(f"allow within: {math.ceil(1000 * abs(best.residual)) / 1000:g}")
    return (
        f"nothing within {match.within:.2%} of the {best.target:,} {UNITS[match.by]} of {best.target_name!r} is found; "
        f"the nearest is {best.solution()}: {best.found:,} ({best.residual:+.2%}); try {', or '.join(ways)}"
    )
