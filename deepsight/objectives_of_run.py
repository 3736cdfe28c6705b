"""The objectives of a run together: built, placed, weighted, and asked for their losses one by one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepsight.errors import UserError, line_in
from deepsight.initialisation import initialise, own_stream
from deepsight.objective import Preparation, SequentialObjective, Term
from deepsight.objective_specs import coefficient_of, default_place
from deepsight.plug_ins import objectives
from deepsight.random_streams import derive
from deepsight.trace import Place, Shape, Trace

if TYPE_CHECKING:
    from deepsight.architecture import Architecture

LOSS = "loss"


class Objectives(nn.Module):
    """The objectives of a run, by label: the objective's name, numbered from the second of a name on.

    Args:
        specs: complete components, each with its `coefficient` and, where it attaches, `attach`.
        shape: of the model.
        seed: of the run; each objective draws its initial weights from a stream of its own.
        end_of_text: the id that ends each document, if the text has documents.

    """

    def __init__(self, specs: list[dict[str, Any]], shape: Shape, seed: int, end_of_text: int | None = None) -> None:
        super().__init__()
        self.end_of_text = end_of_text
        self.schedules = {}
        self.places: dict[str, Place | None] = {}
        self.names: dict[str, str] = {}
        self.parts = nn.ModuleDict()
        names = [str(spec["name"]) for spec in specs]
        for position, spec in enumerate(specs):
            label = self._label(names[position], names[:position].count(names[position]))
            self.names[label] = names[position]
            parameters = {key: value for key, value in spec.items() if key not in objectives.reserved or key == "name"}
            try:
                place = spec.get("attach", default_place(names[position]))
                _check_place(place, shape)
                with own_stream(seed, "construction", label), self.failing_well(label):
                    part: object = objectives.build(parameters, shape=shape)
                if not isinstance(part, nn.Module):
                    raise UserError(f"{self.described(label)} must be a torch Module, not {type(part).__name__}")
            except UserError as error:
                raise error.within("objective", position) from None
            initialise(part, seed, f"objective.{label}.")
            self.parts[label] = part
            self.places[label] = place
            self.schedules[label] = coefficient_of(spec)

    @property
    def lookahead(self) -> int:
        """How many tokens past the window the targets need."""
        return max((_lookahead(part) for part in self.parts.values()), default=0)

    def coefficients(self, progress: float = 0.0) -> dict[str, float]:
        """Return each label's coefficient when this share of the training steps is done."""
        return {label: schedule.at(progress) for label, schedule in self.schedules.items()}

    def prepare(self, preparation: Preparation) -> None:
        """Let every objective, and every part of one, look at network and corpus before the first step."""
        for label, part in self.parts.items():
            with own_stream(preparation.seed, "preparation", label), self.failing_well(label):
                _tell(part, "prepare", preparation)

    def progress(self, share: float) -> None:
        """Tell every objective, and every part of one, which share of the training steps is done."""
        for part in self.parts.values():
            _tell(part, "progress", share)

    def after_step(self, model: Architecture) -> None:
        """Let every objective, and every part of one, follow the network after an optimiser step."""
        for label, part in self.parts.items():
            with self.failing_well(label):
                _tell(part, "after_step", model)

    def losses(self, trace: Trace, seed: int, *moment: int) -> dict[str, dict[str, Tensor]]:
        """Return what each objective says of a trace: label → {"loss": scalar, …metrics}.

        Args:
            trace: of the model's forward pass.
            seed: of the run.
            moment: step and micro-batch, from which each objective's own random numbers are drawn.

        Raises:
            UserError: an objective does not keep its contract, or fails; with the file and line of it.

        """
        found = {}
        for label, part in self.parts.items():
            self.draw(label, seed, *moment)
            with self.failing_well(label):
                said = part(self.seen(label, trace))
            found[label] = self._checked(label, said)
        return found

    def terms(self, label: str, trace: Trace) -> Iterator[Term]:
        """Yield the terms of one objective's loss; the graph of each may be freed before the next is asked for.

        An objective that is not sequential gives one term called "loss", and then its metrics with weight zero.
        """
        part = self.parts[label]
        seen = self.seen(label, trace)
        if isinstance(part, SequentialObjective):
            terms = part.terms(seen)
            while True:
                with self.failing_well(label):
                    term = next(terms, None)
                if term is None:
                    return
                if not isinstance(term, Term):
                    raise UserError(f"{self.described(label)} must yield a Term each time, not {type(term).__name__}")
                self._checked(label, {LOSS: term.loss})
                yield term
        with self.failing_well(label):
            said = part(seen)
        said = dict(self._checked(label, said))
        yield Term(LOSS, said.pop(LOSS))
        yield from (Term(name, value.detach(), 0.0) for name, value in said.items())

    def draw(self, label: str, seed: int, *moment: int) -> None:
        """Give torch's global generator the stream of one objective at one moment."""
        torch.manual_seed(derive(seed, "objective", label, *moment))

    def seen(self, label: str, trace: Trace) -> Trace:
        """Return the trace as one objective sees it: with the state at its place and the tokens it asked for."""
        place, wanted = self.places[label], _lookahead(self.parts[label])
        return dataclasses.replace(
            trace,
            state=None if place is None else trace.at(place),
            later=trace.later[:, :wanted] if trace.later is not None and wanted else None,
            end_of_text=self.end_of_text,
        )

    @torch.no_grad()
    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        """Return the diagnostics of those objectives that have any, as ``label/metric``."""
        found = {}
        for label, part in self.parts.items():
            own = getattr(part, "diagnostics", None)
            with self.failing_well(label):
                said = own(self.seen(label, trace)) if own else {}
            if not isinstance(said, dict):
                kind = type(said).__name__
                raise UserError(f"{self.described(label)} must return a dict of diagnostics, not {kind}")
            self._check_scalars(label, said)
            found.update({f"{label}/{name}": value for name, value in said.items()})
        return found

    def described(self, label: str) -> str:
        """Return how messages name an objective: its label, file and line."""
        return f"the objective {label!r} ({objectives[self.names[label]].location})"

    @contextlib.contextmanager
    def failing_well(self, label: str) -> Iterator[None]:
        """Turn what an objective's code raises into one sentence with the line of the objective's file."""
        try:
            yield
        except (UserError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if "not enough memory" in str(error) or "fake" in type(error).__module__:
                raise
            place = line_in(objectives[self.names[label]].file, error)
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{place or self.described(label)}: the objective {label!r} fails: "
                            f"{type(error).__name__}: {reason}") from error  # fmt: skip

    def _checked(self, label: str, said: object) -> dict[str, Tensor]:
        if not isinstance(said, dict) or LOSS not in said:
            kind = f"one with the keys {sorted(map(str, said))}" if isinstance(said, dict) else type(said).__name__
            raise UserError(f"{self.described(label)} must return a dict with a tensor 'loss', not {kind}")
        self._check_scalars(label, said)
        return said

    def _check_scalars(self, label: str, said: dict[str, Any]) -> None:
        for name, value in said.items():
            if not isinstance(value, Tensor) or value.ndim:
                kind = f"one of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise UserError(f"{self.described(label)} must return a scalar tensor {name!r}, not {kind}")

    def _label(self, name: str, earlier: int) -> str:
        label = f"{name}_{earlier + 1}" if earlier else name
        # Another objective may really be called name_2.
        return self._label(name, earlier + 1) if label in self.parts else label


def _check_place(place: Place | None, shape: Shape) -> None:
    if isinstance(place, dict) and place["layer"] > shape.layers:
        raise UserError(f"there is no layer {place['layer']}; the network has {shape.layers}", ("attach", "layer"))


def _lookahead(part: nn.Module) -> int:
    return int(getattr(part, "lookahead", 0))


def _tell(part: nn.Module, method: str, value: Any) -> None:
    for module in list(part.modules()):
        if callable(own := getattr(module, method, None)):
            own(value)
