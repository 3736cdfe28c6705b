"""From a cell of a study to the run it means: changes laid over the base, checked, its size and budget matched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablations.budget import matched_steps
from ablations.design import Cell
from ablations.matching import Match, ModelMatch, matched_model, model_match
from deepsight.building import check_buildable
from deepsight.config import RunConfig, run_config
from deepsight.errors import UserError
from deepsight.files import digest_of_json
from deepsight.merging import Data, merged, with_dotted_keys
from deepsight.training.device import chosen_device

SecondsPerToken = Callable[[RunConfig], float]

NO_MATCH = (None, "none")
SOLVED = ("width", "feed_forward")
"""What a match may solve that must not be written beside it; a depth starts from the layers that are written."""


@dataclass(frozen=True)
class Resolved:
    """A run, and what a reader should know of it."""

    config: RunConfig
    notes: tuple[str, ...] = ()


class Resolver:
    """Makes runs of cells.

    Args:
        base: of the study, as plain data with its preset expanded.
        reference: the cell whose run the others are matched to; it is matched to the base itself.
        seconds_per_token: measures a run's training, for budgets of equal time.

    """

    def __init__(self, base: Data, reference: Cell, seconds_per_token: SecondsPerToken) -> None:
        self.base, self.reference = base, reference
        self.seconds_per_token = seconds_per_token
        self._targets: dict[str, RunConfig] = {}
        self._solved: dict[str, Match] = {}
        self._checked: set[str] = set()

    def resolve(self, cell: Cell, tuned: Mapping[str, Any] | None = None) -> Resolved:
        """Return the run of a cell; with tuned values, those are laid over it last, and over what it is matched to.

        Raises:
            UserError: with the place in the study.

        """
        tuned = tuned or {}
        try:
            return self._resolved(cell, tuned)
        except UserError as error:
            if tuned:
                settings = ", ".join(f"{key} {value!r}" for key, value in tuned.items())
                raise UserError(f"the arm {cell.name!r} cannot have {settings}: {error}", ("tune",)) from None
            raise error.within(*(cell.place_of(error.path) or cell.place)) from None

    def _resolved(self, cell: Cell, tuned: Mapping[str, Any]) -> Resolved:
        data = merged(cell.on(self.base), tuned)
        size, budget = _taken(data, "model"), _taken(data, "training")
        written = {*cell.settings, *with_dotted_keys(tuned)}
        with _inside("model"):
            match = None if size in NO_MATCH else model_match(size)
        if match is not None and match.solve in SOLVED:
            _refuse(f"model.{match.solve}", written, f"match solves the {match.solve.replace('_', '-')}")
        if budget not in NO_MATCH:
            _refuse("training.steps", written, "match solves the steps")
        config = run_config(data)
        notes = []
        if match is not None:
            solved = self._sized(config, match, cell, tuned)
            config = config.model_copy(update={"model": solved.model})
            notes.append(solved.note())
        self._check(config)
        if budget not in NO_MATCH:
            target, name = self._target(cell, tuned)
            with _inside("training"):
                steps, note = matched_steps(config, target, budget, self.seconds_per_token, name)
            training = config.training.model_copy(update={"steps": steps})
            config = config.model_copy(update={"training": training})
            notes.append(note)
        return Resolved(config, tuple(notes))

    def _sized(self, config: RunConfig, match: ModelMatch, cell: Cell, tuned: Mapping[str, Any]) -> Match:
        target, name = self._target(cell, tuned)
        key = digest_of_json([_shape(config), _shape(target), match.model_dump(mode="json"), name])
        if key not in self._solved:
            with _inside("model"):
                self._solved[key] = matched_model(config, target, match, name)
        return self._solved[key]

    def _target(self, cell: Cell, tuned: Mapping[str, Any]) -> tuple[RunConfig, str]:
        """Return what a cell is matched to, and its name."""
        if cell == self.reference:
            return run_config(merged(self.base, tuned)), "base"
        key = digest_of_json(dict(tuned))
        if key not in self._targets:
            self._targets[key] = self.resolve(self.reference, tuned).config
        return self._targets[key], self.reference.name

    def _check(self, config: RunConfig) -> None:
        key = digest_of_json(_shape(config))
        if key not in self._checked:
            check_run(config)
            self._checked.add(key)


def check_run(config: RunConfig) -> None:
    """Refuse a run that cannot be built, or not on this machine.

    Raises:
        UserError: with the path of what does not fit.

    """
    check_buildable(config)
    chosen_device(config.runtime.device)


def _shape(config: RunConfig) -> Any:
    """Return what decides of a run's size: learning rates and the like are not in it."""
    data = config.complete()
    training = {key: data["training"][key] for key in ("batch_size", "precision")}
    return [data["model"], data["objective"], config.data.tokens, training, data["runtime"]]


def _taken(data: Data, part: str) -> Any:
    """Take the key `match` out of a part of an arm's data; it belongs to the study, not to the run."""
    content = data.get(part)
    return content.pop("match", None) if isinstance(content, dict) else None


def _refuse(key: str, written: set[str], reason: str) -> None:
    if key in written:
        raise UserError(f"{reason}: leave it out here", tuple(key.split(".")))


@contextlib.contextmanager
def _inside(part: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise error.within(part) from None
