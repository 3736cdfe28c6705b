"""A study as people write it: a base run, factors or arms, seeds, and the arm that the others are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ablations.published import Published
from deepsight.errors import UserError, suggestion
from deepsight.limits import Seed
from deepsight.presets import preset_names
from deepsight.validation import Strict

MOST_SEEDS = 1_000
NOT_TUNED = ("seed", "data", "evaluation", "runtime")
"""Keys that say what is compared and how, and no setting that may suit one arm better than another."""
MATCHED = ("model.match", "training.match")

Values = Annotated[list[Any], Field(min_length=1)]


def _seed_list(written: Any) -> Any:
    _check_seeds(written)
    return list(range(written)) if _is_number(written) else written


def _check_seeds(written: Any) -> Any:
    if _is_number(written) and written < 1:
        raise UserError(f"at least one seed is needed, not {written}")
    if isinstance(written, list) and (len(set(map(str, written))) < len(written) or not written):
        raise UserError("the seeds must be different numbers, and at least one")
    if (_is_number(written) and written > MOST_SEEDS) or (isinstance(written, list) and len(written) > MOST_SEEDS):
        raise UserError(f"a study has at most {MOST_SEEDS:,} seeds")
    return written


def _is_number(written: Any) -> bool:
    return isinstance(written, int) and not isinstance(written, bool)


def _lines(written: Any) -> Any:
    return [written] if isinstance(written, str) else written


class Designed(Strict):
    """What a study and each of its groups can say: settings around a base.

    Attributes:
        factors: dotted key → values to sweep; each cell changes the base.
        arms: name → changes of the base; they stand beside the factors' cells. `model.match` and `training.match` are
            keys of an arm, a factor or a group's base that no run has: they solve the arm's size
            (`ablations/matching.py`) or its steps (`ablations/budget.py`) for that of the reference.
        design: `grid` runs every combination of the factors; `one_at_a_time` varies each around the base;
            `leave_one_out` has every factor at its first value, and arms in which one factor has another.
        where: what every cell of the factors must fulfil, such as `model.layers.sum == 4` (`ablations/constraints.py`);
            the others are left out, and listed.

    """

    factors: dict[str, Values] = {}
    arms: dict[str, dict[str, Any]] = {}
    design: Literal["grid", "one_at_a_time", "leave_one_out"] = "grid"
    where: Annotated[list[str], BeforeValidator(_lines)] = []


class Group(Designed):
    """A design of its own within a study, on the study's base and against its reference.

    Attributes:
        base: what all cells of the group change in the study's base.

    """

    base: dict[str, Any] = {}


class Scale(Strict):
    """What a study changes where its base stands on another preset than the one that it was written for.

    Attributes:
        base: laid over the study's base.
        arms: name of an arm → what is laid over its changes.
        factors: dotted key of a factor → the values that it has instead.

    """

    base: dict[str, Any] = {}
    arms: dict[str, dict[str, Any]] = {}
    factors: dict[str, Values] = {}


class Study(Designed):
    """A study file: its own design, further ones in groups, and what holds for all of them.

    Attributes:
        name: of the study; it must not change while its folder is used.
        title: the question, in one line.
        base: what every arm starts from: a preset and changes.
        groups: name → a design of its own. Where two designs have an arm of one name, it is called `group: name`.
        reference: the arm that the others are compared with. Where `model.match` or `training.match` is written, its
            run is what the others are matched to, and the base is what it is matched to itself.
        seeds: a number (0, 1, …) or a list.
        tune: dotted key → values. Every combination of them is tried in every arm, and each arm takes the one with the
            lowest mean validation loss at the end; a combination in which a trial fails is taken by none.
        tuning_seeds: for these trials: a list, or a number of seeds, those after the largest of `seeds`.
        control: whether to add the A/A control: the reference with an objective beside it that does nothing. Where it
            differs from the reference, the comparison is at fault. It takes the reference's tuned values.
        equivalence_margin: δ in nats per token for the verdict "equivalent".
        scales: preset → what the study changes there (`ablations/scaling.py`); with any, it runs on no other preset.
        published: the published numbers that the report sets beside the study's own.

    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")
    title: str = ""
    base: dict[str, Any]
    groups: dict[str, Group] = {}
    reference: str | None = None
    seeds: Annotated[list[Seed], BeforeValidator(_seed_list)] = [0, 1, 2, 3, 4]
    tune: dict[str, Values] = {}
    tuning_seeds: Annotated[int | list[Seed], BeforeValidator(_check_seeds)] = 1
    control: bool = False
    equivalence_margin: float = Field(default=0.01, gt=0)
    scales: dict[str, Scale] = {}
    published: Published | None = None

    @model_validator(mode="after")
    def _can_be_tuned(self) -> Study:
        if "tuning_seeds" in self.model_fields_set and not self.tune:
            raise UserError("there is nothing to tune: the key 'tune' is missing", ("tuning_seeds",))
        common = sorted({*self.seeds} & {*self.seeds_of_tuning})
        if common:
            raise UserError(f"the seed {common[0]} compares the arms and cannot choose their values", ("tuning_seeds",))
        for key, values in self.tune.items():
            if key.partition(".")[0] in NOT_TUNED or key in MATCHED:
                raise UserError(f"{key} holds for all arms alike and cannot be tuned", ("tune", key))
            if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
                raise UserError("the values must differ", ("tune", key))
        return self

    @model_validator(mode="after")
    def _scales_what_it_has(self) -> Study:
        for preset, scale in self.scales.items():
            if preset not in preset_names():
                raise UserError(f"unknown preset {preset!r}{suggestion(preset, preset_names())}", ("scales",))
            for part, known, what in (("arms", self.arms, "arm"), ("factors", self.factors, "factor")):
                unknown = next((name for name in getattr(scale, part) if name not in known), None)
                if unknown is not None:
                    hint = suggestion(unknown, known)
                    raise UserError(f"the study has no {what} {unknown!r}{hint}", ("scales", preset, part, unknown))
        return self

    @property
    def seeds_of_tuning(self) -> list[int]:
        """The seeds of the trials that tuned values are chosen from."""
        if isinstance(self.tuning_seeds, list):
            return self.tuning_seeds
        first = max(self.seeds) + 1
        return list(range(first, first + self.tuning_seeds))

    @property
    def designs(self) -> Mapping[str | None, Designed]:
        """The study's own design, under None, and those of its groups."""
        own: dict[str | None, Designed] = {None: self}
        return own | dict(self.groups)


def place_of_design(group: str | None) -> tuple[str, ...]:
    """Return where in a study file a design is written."""
    return () if group is None else ("groups", group)
