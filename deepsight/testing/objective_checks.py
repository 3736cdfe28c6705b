"""What an objective says and does: its loss, its gradients, and that it repeats."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from deepsight.errors import UserError
from deepsight.objective import SequentialObjective
from deepsight.objective_specs import PLACES, default_place, resolved_objective
from deepsight.testing.systems import ESSENTIAL, Subject, System, Windows, more_systems_for, systems_for
from deepsight.trace import IGNORED, Place
from deepsight.training.seam import Seam

SHORTEST = 3
DRAWS = 64
"""Moments over which the mean loss of an objective with random numbers is taken."""


def check_loss(spec: object) -> None:
    """The loss and every metric and diagnostic are finite scalars, on every system.

    A window too short for the objective may be refused, in one sentence of its own.
    """
    for system in more_systems_for(spec):
        subject = Subject(spec, system)
        trace = subject.trace()
        said = subject.said(trace)
        _finite(subject, said, "a metric")
        _finite(subject, subject.objectives.diagnostics(trace), "a diagnostic")
        part = subject.objectives.parts[subject.label]
        if isinstance(part, SequentialObjective):
            subject.objectives.draw(subject.label, 0, 0, 0)
            loss = float(said["loss"].detach())
            total = sum(
                term.weight * float(term.loss.detach()) for term in subject.objectives.terms(subject.label, trace)
            )
            if not math.isclose(total, loss, rel_tol=1e-4, abs_tol=1e-6):
                raise subject.broken(f"has terms that add up to {total:.6g} and a loss of {loss:.6g}")
        try:
            short = subject.said(subject.trace(subject.windows(window=SHORTEST)))
        except UserError as error:
            if error.__cause__ is not None:
                raise
        else:
            _finite(subject, short, f"on a window of {SHORTEST} tokens, a metric")


def check_gradients(spec: object) -> None:
    """Gradients are finite and reach the state at the place where it attaches, for every place, and every parameter.

    An objective that says it is inert must send none instead.
    """
    for system in systems_for(spec):
        for place in _places(spec, system):
            subject = Subject(spec, system, attach=place)
            if getattr(subject.objectives.parts[subject.label], "inert", False):
                _sends_none(subject)
                continue
            if not _reaches(subject, place):
                # A head that starts at zero lets nothing through until it has moved.
                subject.train(3)
                if not _reaches(subject, place):
                    where = "the network" if place is None else f"the state at `attach: {place}`, which it is given"
                    raise subject.broken(
                        f"sends no gradient to {where}: read `trace.attached`"
                        + ("" if place is None else ", or set `attach = None` if it reads no single state")
                    )


def check_ignored_targets(spec: object) -> None:
    """Loss and gradients stay finite where targets do not count: in a prompt, in a whole sequence, in nearly all."""
    for system in systems_for(spec):
        for what, rows, positions in (
            ("in the middle of each sequence", slice(None), slice(3, 9)),
            ("of one whole sequence", slice(1), slice(None)),
            ("after the first position", slice(None), slice(1, None)),
        ):
            subject = Subject(spec, system)
            trace = subject.trace()
            trace.targets[rows, positions] = IGNORED
            said = subject.said(trace)
            _finite(subject, said, f"with the targets {what} ignored, a metric")
            if said["loss"].requires_grad:
                said["loss"].backward()  # type: ignore[no-untyped-call]
            _finite_gradients(subject, f"with the targets {what} ignored")


def check_determinism(spec: object) -> None:
    """With one seed the loss repeats bit by bit: of one trace, and of three training steps from the start."""
    for system in systems_for(spec):
        subject, twin = Subject(spec, system), Subject(spec, system)
        trace = subject.trace()
        first, again = (subject.said(trace)["loss"].detach() for _ in range(2))
        if not torch.equal(first, again):
            raise subject.broken(
                f"gives {float(first):.9g} and then {float(again):.9g} for one trace and one seed: "
                "draw random numbers from torch's global generator alone, and keep no state between losses"
            )
        losses, others = subject.train(3), twin.train(3)
        if losses != others:
            raise subject.broken(f"gives the losses {losses} and {others} in two runs of one seed")


def check_order_of_sequences(spec: object) -> None:
    """The order of sequences in a batch does not count; with random numbers, not on average."""
    for system in (dataclasses.replace(system, dtype=torch.float64) for system in systems_for(spec)):
        subject = Subject(spec, system)
        inputs, targets, later = subject.windows(rows=4)
        turned = (inputs.flip(0), targets.flip(0), None if later is None else later.flip(0))
        (first, second), (other, _) = (_draws(spec, system, rows, 2) for rows in ((inputs, targets, later), turned))
        if torch.isclose(first, second, rtol=1e-9, atol=0):
            if not torch.isclose(first, other, rtol=1e-9, atol=1e-9):
                raise subject.broken(f"gives {first:.9g} for a batch and {other:.9g} for its sequences turned round")
        elif system.architecture in ESSENTIAL:
            one, reverse = (_draws(spec, system, rows, DRAWS) for rows in ((inputs, targets, later), turned))
            allowed = 5 * float((one.var() + reverse.var()).div(DRAWS).sqrt())
            if float((one.mean() - reverse.mean()).abs()) > allowed:
                raise subject.broken(
                    f"gives {one.mean():.6g} for a batch and {reverse.mean():.6g} for its sequences turned round, "
                    f"on average over {DRAWS} draws (5 standard errors are {allowed:.2g})"
                )


@torch.no_grad()
def _draws(spec: object, system: System, windows: Windows, count: int) -> Tensor:
    """Return the loss of a batch at several moments, from a freshly built objective."""
    subject = Subject(spec, system)
    trace = subject.trace(windows)
    return torch.stack([subject.said(trace, moment, 0)["loss"] for moment in range(count)])


def _places(spec: object, system: System) -> list[Place | None]:
    if default_place(str(resolved_objective(spec)["name"])) is None:
        return [None]
    return [*PLACES, {"layer": 1}, {"layer": system.network().shape.layers}]


def _reaches(subject: Subject, place: Place | None) -> bool:
    """Differentiate the objective alone; say whether anything arrives at its place and in all its own parameters."""
    for module in (subject.network, subject.objectives):
        module.zero_grad(set_to_none=True)
    seam = Seam(subject.trace())
    label = subject.label
    subject.objectives.draw(label, 0, 0, 0)
    for term in subject.objectives.terms(label, seam.trace):
        if term.weight != 0:
            seam.backward(label, term.weight * term.loss)
    found = seam.gradients.get(label, {})
    seam.finish()
    _finite_gradients(subject, "")
    idle = [
        name for name, weight in subject.objectives.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    if idle:
        own = idle[0].partition(f"{label}.")[2]
        raise subject.broken(f"has a parameter {own!r} that its loss does not depend on")
    if place is None:
        return any(weight.grad is not None and bool(weight.grad.any()) for weight in subject.network.parameters())
    leaf = seam.trace.at(place)
    at = next(position for position, known in enumerate(seam.leaves) if known is leaf)
    return at in found and bool(found[at].any())


def _sends_none(subject: Subject) -> None:
    loss = subject.said()["loss"]
    if loss.requires_grad or loss != 0:
        has = "has a gradient" if loss.requires_grad else f"is {float(loss):.6g}"
        raise subject.broken(f"says that it is inert, and its loss {has}: it must be zero, without a gradient")


def _finite(subject: Subject, said: dict[str, Tensor], what: str) -> None:
    for name, value in said.items():
        if not torch.isfinite(value):
            raise subject.broken(f"has {what} that is not finite: {name} is {float(value.detach())}")


def _finite_gradients(subject: Subject, when: str) -> None:
    for module, whose in ((subject.network, "the network's"), (subject.objectives, "its own")):
        for name, weight in module.named_parameters():
            if weight.grad is not None and not torch.isfinite(weight.grad).all():
                raise subject.broken(
                    f"has a gradient that is not finite {when} in {whose} parameter {name!r}".replace("  ", " ")
                )
