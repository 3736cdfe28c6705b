"""How an objective is written in a run: its name and parameters, its coefficient over time, and where it attaches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from deepsight.errors import UserError, suggestion
from deepsight.plug_ins import objectives
from deepsight.registry import Spec
from deepsight.trace import Place
from deepsight.validation import Strict, validated

PLACES = ("encoder", "decoder")
DEFAULT_PLACE = "decoder"


class Coefficient(Strict):
    """The weight of an objective in the training loss, over the run.

    Attributes:
        start: at the first step.
        schedule: `constant`; `linear_decay` falls in a straight line to zero; `off_after` is `start`, then zero.
        share: of the training steps after which the coefficient is zero; all of them when it is 1.

    """

    start: float = 1.0
    schedule: Literal["constant", "linear_decay", "off_after"] = "constant"
    share: float = Field(default=1.0, gt=0.0, le=1.0)

    def at(self, progress: float) -> float:
        """Return the coefficient when this share (0 … 1) of the training steps is done."""
        if self.schedule == "constant":
            return self.start
        if progress >= self.share:
            return 0.0
        return self.start * (1 - progress / self.share) if self.schedule == "linear_decay" else self.start


class _Layer(Strict):
    layer: int = Field(ge=1)


def resolved_objectives(written: Any) -> list[Spec]:
    """Return the complete form of an `objective` key: `none`, one component, or a list of them."""
    if written is None or written == "none":
        return []
    if not isinstance(written, list):
        return [resolved_objective(written)]
    resolved = []
    for position, item in enumerate(written):
        try:
            resolved.append(resolved_objective(item))
        except UserError as error:
            raise error.within(position) from None
    return resolved


def resolved_objective(written: Any) -> Spec:
    """Return one objective in its complete form: name, coefficient, place (where it attaches at all), parameters."""
    spec = {"name": written} if isinstance(written, str) else dict(written) if isinstance(written, Mapping) else written
    if not isinstance(spec, dict) or "name" not in spec:
        raise UserError(f"an objective is a name, or a mapping with a name, not {written!r}")
    attach = spec.pop("attach", None)
    resolved = objectives.resolve({key: value for key, value in spec.items() if key != "coefficient"})
    name = resolved.pop("name")
    place = _placed(str(name), attach)
    usual = default_coefficient(str(name))
    coefficient = _coefficient(spec.get("coefficient", usual), usual)
    return {"name": name, "coefficient": coefficient, **({"attach": place} if place else {}), **resolved}


def coefficient_of(spec: Mapping[str, Any]) -> Coefficient:
    """Return the coefficient of a complete objective."""
    written = spec["coefficient"]
    return validated(Coefficient, written if isinstance(written, Mapping) else {"start": written})


def default_coefficient(name: str) -> float:
    """Return an objective's weight when nobody says: as published, where it was published with one."""
    return float(getattr(objectives[name].factory, "coefficient", 1.0))


def default_place(name: str) -> Place | None:
    """Return where an objective attaches when nobody says: as published; None for one that reads no single state."""
    place: Place | None = getattr(objectives[name].factory, "attach", DEFAULT_PLACE)
    return place


def _coefficient(written: Any, default: float) -> float | dict[str, Any]:
    """Return a constant coefficient as a number, a schedule as a mapping; a schedule may leave out where it starts."""
    if isinstance(written, Mapping):
        try:
            coefficient = validated(Coefficient, {"start": default, **written})
        except UserError as error:
            raise error.within("coefficient") from None
        constant = coefficient.schedule == "constant"
        return coefficient.start if constant else coefficient.model_dump(mode="json")
    if isinstance(written, bool) or not isinstance(written, int | float) or not math.isfinite(written):
        raise UserError(f"a finite number is needed, or a schedule, not {written!r}", ("coefficient",))
    return float(written)


def _placed(name: str, written: Any) -> Place | None:
    default = default_place(name)
    if written is None:
        return default
    if default is None:
        raise UserError(f"the objective {name!r} reads no single state and attaches nowhere: leave it out", ("attach",))
    if isinstance(written, Mapping):
        try:
            return {"layer": validated(_Layer, written).layer}
        except UserError as error:
            raise error.within("attach") from None
    if written not in PLACES:
        near = suggestion(str(written), PLACES)
        raise UserError(f"unknown place {written!r}{near}, {{layer: k}}", ("attach",))
    return str(written)
