"""That an objective survives what a run does with it: configuration as text, checkpoints, counting; and its cost."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig, run_config
from deepsight.counting import parameter_count
from deepsight.errors import UserError
from deepsight.objective import Preparation
from deepsight.objective_specs import resolved_objective
from deepsight.presets import preset
from deepsight.saved_memory import most_saved_bytes
from deepsight.testing.systems import Subject, component_of, essential_systems, more_systems_for
from deepsight.training.step import accumulate_gradients
from deepsight.yaml_files import dump_yaml, parse_yaml

REPETITIONS = 5


def check_configuration(spec: object) -> None:
    """The complete configuration, written as YAML and read back, is the same."""
    resolved = resolved_objective(spec)
    again = resolved_objective(parse_yaml(dump_yaml(resolved), str(resolved["name"])))
    if again != resolved:
        component = component_of(resolved)
        raise UserError(
            f"{component.location}: the objective {component.name!r} is {resolved} before and {again} after YAML"
        )


def check_checkpoint(spec: object) -> None:
    """Saved after two steps, built anew, prepared and loaded, it gives the same loss: as a run that is resumed."""
    for system in more_systems_for(spec):
        subject, resumed = Subject(spec, system), Subject(spec, system)
        subject.train(2)
        for name in ("network", "objectives"):
            saved = {key: value.clone() for key, value in getattr(subject, name).state_dict().items()}
            try:
                getattr(resumed, name).load_state_dict(saved)
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise subject.broken(f"cannot load its own checkpoint: {reason}") from None
        expected, found = (float(one.said()["loss"].detach()) for one in (subject, resumed))
        if expected != found:
            raise subject.broken(
                f"gives {expected:.9g} before a checkpoint and {found:.9g} after: "
                "what it learns or remembers must be a parameter or a persistent buffer"
            )


def check_counting(spec: object) -> str:
    """A training step runs without storage, so that parameters, FLOPs and memory can be counted before a run; or not.

    An objective that looks at the values of its tensors needs storage: it is counted with it, more slowly.
    """
    for system in essential_systems():
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                Subject(spec, system).accumulate()
        except (UserError, DataDependentOutputException, DynamicOutputShapeException) as error:
            Subject(spec, system).accumulate()
            return f"needs storage: {str(error).partition(chr(10))[0]}"
    return "without storage"


@dataclass(frozen=True)
class Overhead:
    """What an objective adds to one training step of the preset `tiny`.

    Attributes:
        seconds: of a step without and with it, the best of a few.
        saved_bytes: the most that is kept for backward passes at once, without and with it.
        parameters: of the objective; absent at inference.

    """

    seconds: tuple[float, float]
    saved_bytes: tuple[int, int]
    parameters: int

    def __str__(self) -> str:
        (before, after), (less, more) = self.seconds, self.saved_bytes
        return (
            f"a step of the preset tiny takes {1000 * before:.1f} ms without it and {1000 * after:.1f} ms with it "
            f"({_change(before, after)}); {less / 2**20:.1f} and {more / 2**20:.1f} MiB are kept for backward "
            f"({_change(less, more)}); {self.parameters:,} parameters of training only"
        )


def measured_overhead(spec: object) -> Overhead:
    """Measure what an objective costs; steps without and with it take turns, so that both see the same machine."""
    plain, own = (_training_step(run_config({**preset("tiny"), "objective": written})) for written in ("none", spec))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPETITIONS):
        for step, times in zip((plain, own), seconds, strict=True):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
    saved = tuple(most_saved_bytes(step) for step in (plain, own))
    return Overhead((min(seconds[0]), min(seconds[1])), (saved[0], saved[1]), parameter_count(own.args[1]))


def _training_step(config: RunConfig) -> functools.partial[Any]:
    model = build_model(config)
    objectives = build_objectives(config, model.shape)
    objectives.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64), config.seed))
    context, later = config.model.context, objectives.lookahead
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(model.vocabulary, (config.training.batch_size, context + 1 + later), generator=generator)
    parts = tokens[:, :context], tokens[:, 1 : context + 1], tokens[:, context + 1 :] if later else None
    return functools.partial(accumulate_gradients, model, objectives, *parts, seed=0, step=0)


def _change(before: float, after: float) -> str:
    return f"{(after / before - 1) * 100:+.0f} %"
