"""Asking probes: what a run's folder already holds is not computed again, and a failure is one sentence."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from torch import nn

from deepsight.errors import UserError, line_in
from deepsight.evaluation.probes.answers import Answer, read_answer, write_answer
from deepsight.evaluation.probes.probe import Probe, Subject
from deepsight.files import digest_of_file, digest_of_json
from deepsight.plug_ins import loaded_plugins, probes
from deepsight.registry import Spec
from deepsight.training.names import CHECKPOINT_FILE


def key_of(folder: Path, spec: Spec) -> str:
    """Return a digest of what a probe's tables follow from: its parameters, its code's version, and the checkpoint."""
    factory = probes[spec["name"]]
    plugin = {str(path): digest for path, digest in loaded_plugins().items()}.get(factory.file)
    return digest_of_json(
        {
            "spec": spec,
            "version": getattr(factory.factory, "version", 1),
            "plugin": plugin,
            "checkpoint": digest_of_file(Path(folder) / CHECKPOINT_FILE),
        }
    )


def stored_answer(folder: Path, spec: Spec) -> Answer | None:
    """Return the answer to exactly this question that a run's folder holds; a failure is none."""
    found = read_answer(folder, spec["name"])
    return found if found is not None and found.error is None and found.key == key_of(folder, spec) else None


def ask(folder: Path, spec: Spec, subject: Callable[[], Subject], alive: Callable[[], None]) -> tuple[Answer, bool]:
    """Return a probe's answer, from the run's folder where it is there, else computed and stored there.

    Args:
        folder: of a run with its final checkpoint.
        spec: of the probe, complete.
        subject: gives the trained model; asked only where something is to be computed.
        alive: called again and again meanwhile.

    Returns:
        The answer, and whether it was computed now.

    Raises:
        UserError: the run lacks what the probe needs, or the probe fails, with the file and line where it does.

    """
    stored = stored_answer(folder, spec)
    if stored is not None:
        return stored, False
    found = subject()
    probe = probes.build(spec)
    started = time.perf_counter()
    with failing_well(spec), evaluating(found.model, found.objectives):
        probe.check(found)
        tables = probe.run(found, alive)
        json.dumps(tables, allow_nan=False)
    answer = Answer(spec, key_of(folder, spec), time.perf_counter() - started, tables)
    write_answer(folder, answer)
    return answer, True


def ask_at_the_end(folder: Path, specs: Iterable[Spec | str], subject: Subject, alive: Callable[[], None]) -> None:
    """Ask probes of a run that has just been trained; one that fails leaves a sentence in its file and stops nothing.

    Args:
        folder: of the run, with its final checkpoint.
        specs: of the probes.
        subject: the trained model; its training mode is as before afterwards.
        alive: called again and again meanwhile.

    """
    for spec in map(probes.resolve, specs):
        started = time.perf_counter()
        try:
            ask(folder, spec, lambda: subject, alive)
        except UserError as error:
            failed = Answer(spec, key_of(folder, spec), time.perf_counter() - started, error=str(error))
            write_answer(folder, failed)


def obstacle(spec: Spec, subject: Subject) -> str | None:
    """Return why a run cannot be asked a probe, in one sentence; None where it can."""
    probe: Probe = probes.build(spec)
    try:
        with failing_well(spec):
            probe.check(subject)
    except UserError as error:
        return str(error)
    return None


@contextlib.contextmanager
def failing_well(spec: Spec) -> Iterator[None]:
    """Turn what a probe's code raises into one sentence with the line of the probe's file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        component = probes[spec["name"]]
        place = line_in(component.file, error) or component.location
        reason = str(error).strip().partition("\n")[0]
        told = f"{type(error).__name__}: {reason}"
        raise UserError(f"{place}: the probe {component.name!r} fails: {told}") from error


@contextlib.contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode for a while."""
    before = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, before, strict=True):
            module.train(mode)
