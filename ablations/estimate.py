"""What a trial takes on this machine: a few real steps of each distinct shape, in a process of its own.

So a shape that cannot train is known before the grid begins, and time and memory are measured where they will be used.
"""

from __future__ import annotations

import gc
import math
import multiprocessing.connection
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from ablations.supervisor import template
from ablations.trial import message_of
from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig, run_config
from deepsight.errors import UserError
from deepsight.files import digest_of_json
from deepsight.machine import peak_memory
from deepsight.myopia import myopic
from deepsight.objective import Preparation
from deepsight.plug_ins import load_plugins
from deepsight.training.device import autocast, chosen_device, prepare
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients

MOST_TOKENS = 16_384
"""Of a measured step; where a micro-batch has more, what it takes is scaled from as many sequences as fit."""
MOST_SECONDS = 300.0
STEPS = 3
START_SECONDS = 0.2
EVALUATION_SHARE = 1 / 3
"""A forward pass costs about a third of forward and backward."""


@dataclass(frozen=True)
class Measured:
    """What one shape takes.

    Attributes:
        seconds_per_token: of a training step.
        memory: bytes of the process at its peak, beyond what it shares with its template.
        device_memory: bytes of the CUDA device at their peak; 0 without one.
        problem: why it could not be measured, empty where it could.

    """

    seconds_per_token: float = math.nan
    memory: int = 0
    device_memory: int = 0
    problem: str = ""


class Measurements:
    """Measures each distinct shape once.

    Args:
        plugins: files that the runs need.
        known: shape → what was measured before.

    """

    def __init__(self, plugins: Iterable[Path] = (), known: dict[str, Measured] | None = None) -> None:
        self.plugins = tuple(plugins)
        self.known = dict(known or {})

    def of(self, config: RunConfig) -> Measured:
        """Return what a run's shape takes.

        Raises:
            UserError: the run's components do not keep to their contract.

        """
        self.measure([config], 1)
        return self.known[shape_of(config)]

    def seconds_per_token(self, config: RunConfig) -> float:
        """Return the seconds for one token of training.

        Raises:
            UserError: the shape cannot be measured.

        """
        found = self.of(config)
        if found.problem:
            raise UserError(f"its time cannot be measured: {found.problem}")
        return found.seconds_per_token

    def measure(self, configs: Iterable[RunConfig], workers: int, tick: Callable[[], None] = lambda: None) -> None:
        """Measure every shape that is not known yet, so many at a time as trials will run.

        Raises:
            UserError: the components of a run do not keep to their contract.

        """
        waiting = {shape_of(config): config for config in configs if shape_of(config) not in self.known}
        running: dict[str, _Measuring] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    shape = next(iter(waiting))
                    running[shape] = _Measuring(waiting.pop(shape), self.plugins)
                multiprocessing.connection.wait([one.answers for one in running.values()], timeout=0.2)
                for shape, one in list(running.items()):
                    answer = one.answer()
                    if answer is not None:
                        del running[shape]
                        self.known[shape] = answer
                tick()
        finally:
            for one in running.values():
                one.process.kill()

    def as_data(self) -> dict[str, Any]:
        """Return what was measured as plain data; what could not be measured is left out, to be tried again."""
        return {shape: asdict(one) for shape, one in sorted(self.known.items()) if not one.problem}


def seconds_per_token(config: RunConfig) -> float:
    """Measure the seconds for one token of a run's training.

    Raises:
        UserError: they cannot be measured.

    """
    return Measurements().seconds_per_token(config)


class _Measuring:
    """One shape being measured in its own process."""

    def __init__(self, config: RunConfig, plugins: tuple[Path, ...]) -> None:
        context = template()
        self.answers, child = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=_measure_in_child, args=(child, config.complete(), plugins), daemon=True
        )
        self.process.start()
        child.close()
        self._give_up = time.monotonic() + MOST_SECONDS

    def answer(self) -> Measured | None:
        if self.answers.poll():
            try:
                found = self.answers.recv_bytes().decode("utf-8")
            except EOFError:
                self.process.join()
                return Measured(problem=f"its first steps end the process (exit code {self.process.exitcode})")
            self.process.join()
            return _read_answer(found)
        if time.monotonic() > self._give_up:
            self.process.kill()
            return Measured(problem=f"its first steps take more than {MOST_SECONDS:g} s")
        return None


def _read_answer(text: str) -> Measured:
    kind, _, rest = text.partition("\n")
    if kind == "refused":
        raise UserError(rest)
    if kind == "failed":
        return Measured(problem=rest)
    seconds, memory, device_memory = rest.split()
    return Measured(float(seconds), int(memory), int(device_memory))


def _measure_in_child(answers: Any, data: dict[str, Any], plugins: tuple[Path, ...]) -> None:
    # What the components print is no part of the plan.
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    try:
        load_plugins(list(plugins))
        found = measured(run_config(data))
        text = f"measured\n{found.seconds_per_token!r} {found.memory} {found.device_memory}"
    except UserError as error:
        text = f"refused\n{error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, the plan says it
        text = f"failed\n{message_of(error)}"
    answers.send_bytes(text.encode("utf-8"))
    answers.close()
    os._exit(0)


def measured(config: RunConfig) -> Measured:
    """Take a few training steps on random tokens in this process and return what they take."""
    device = prepare(config)
    before = peak_memory()
    model = build_model(config).to(device)
    objectives = build_objectives(config, model.shape).to(device)
    objectives.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64), config.seed))
    optimizer = build_optimizer([model, objectives], config.training)
    weights = peak_memory() - before
    context, whole = config.sequence_length, config.runtime.micro_batch_size or config.training.batch_size
    rows = max(1, min(whole, MOST_TOKENS // context))
    with myopic(config.training.myopic):
        times = [_timed_step(config, device, model, objectives, optimizer, rows, step) for step in range(STEPS)]
    # Gradients and moments do not grow with the batch; what the forward pass saves does.
    memory = weights + (max(0, peak_memory() - before - weights) * whole) // rows
    on_device = torch.cuda.max_memory_reserved(device) * whole // rows if device.type == "cuda" else 0
    return Measured(min(times[1:]) / (rows * context), memory, on_device)


def _timed_step(
    config: RunConfig, device: torch.device, model: Any, objectives: Any, optimizer: Any, rows: int, step: int
) -> float:
    context, later = config.sequence_length, objectives.lookahead
    generator = torch.Generator().manual_seed(step)
    shape = (rows, context + 1 + later)
    tokens = torch.randint(config.data.vocabulary, shape, generator=generator).to(device)
    started = time.perf_counter()
    accumulate_gradients(
        model,
        objectives,
        tokens[:, :context],
        tokens[:, 1 : context + 1],
        tokens[:, context + 1 :] if later else None,
        seed=0,
        step=step,
        autocast=autocast(config, device),
    )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elapsed = time.perf_counter() - started
    # For the peak of memory; a pass over all objects may take longer than a step of a small model.
    gc.collect()
    return elapsed


def shape_of(config: RunConfig) -> str:
    """Return a digest that runs share which take the same time and memory for a token."""
    data = config.complete()
    runtime = {key: data["runtime"][key] for key in ("threads", "micro_batch_size", "attention")}
    batch = [data["training"]["batch_size"], data["training"]["precision"]]
    if config.training.myopic:
        # Named only here: what was measured before the key was there is still known.
        batch.append("myopic")
    device = chosen_device(config.runtime.device).type
    return digest_of_json([data["model"], data["objective"], config.data.tokens, batch, runtime, device])


def seconds_of_trial(config: RunConfig, one: Measured) -> float:
    """Return how long a trial will take: its start, its steps, and its evaluations at their lower cost."""
    training, evaluation = config.training, config.evaluation
    trained = training.steps * training.batch_size
    evaluations = 1 + -(-training.steps // evaluation.every)
    # Without a number of windows, the whole split is read; its size is not known before it is packed.
    read = evaluations * (evaluation.windows or 256) * EVALUATION_SHARE
    return START_SECONDS + one.seconds_per_token * (trained + read) * config.sequence_length
