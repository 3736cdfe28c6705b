"""From a configuration to modules: the network, and the objectives beside it."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.config import RunConfig
from deepsight.data.tasks.sequences import DATA_SEED, check_context, distinct, first_scored
from deepsight.errors import UserError
from deepsight.initialisation import initialise, own_stream
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import architectures, loggers
from deepsight.trace import Shape


def build_model(config: RunConfig, device: torch.device | str = "cpu") -> Architecture:
    """Return the network of a run, with its initial weights (on `meta`: without any)."""
    with torch.device(device), own_stream(config.seed, "construction"):
        model = architectures.build(config.model.architecture, config=config.model, vocabulary=config.data.vocabulary)
    if torch.device(device).type != "meta":
        initialise(model, config.seed)
    return model


def build_objectives(config: RunConfig, shape: Shape, device: torch.device | str = "cpu") -> Objectives:
    """Return the objectives of a run, with their initial weights."""
    with torch.device(device):
        return Objectives(config.objective, shape, config.seed, config.data.end_of_text)


def check_buildable(config: RunConfig) -> None:
    """Build network and objectives without storage, so that what cannot be built is known before anything runs.

    So is a logger whose package is not installed.

    Raises:
        UserError: with the path of what does not fit.

    """
    _check_loggers(config)
    if config.data.task is not None:
        _check_task(config)
    shape = build_model(config, "meta").shape
    try:
        objectives = build_objectives(config, shape, "meta")
    except UserError:
        # A constructor may need to see values; what is really wrong is wrong with storage too.
        objectives = build_objectives(config, shape)
    if config.data.task is not None:
        _check_horizons(objectives, config)


def _check_loggers(config: RunConfig) -> None:
    for position, spec in enumerate(config.runtime.loggers):
        needed = getattr(loggers[loggers.resolve(spec)["name"]].factory, "needs", None)
        if needed is not None and find_spec(needed) is None:
            raise UserError(
                f'{needed} is not installed; pip install "deepsight[{needed}]"', ("runtime", "loggers", position)
            )


def _check_task(config: RunConfig) -> None:
    task = config.data.build_task()
    check_context(task, config.model.context)
    factory: Any = architectures[config.model.architecture_name].factory
    first = factory.first_predicted(config.model)
    if first and (answered := first_scored(task)) <= first:
        raise UserError(
            f"{config.model.architecture_name} predicts from the token {first + 1} of a sequence on (counted from 0), "
            f"and this task's answers begin at the token {answered}; choose another architecture",
            ("model", "architecture"),
        )
    if task.training_set is not None:
        try:
            distinct(task, task.training_set, DATA_SEED)
        except UserError as error:
            raise error.within("data", "task") from None


def _check_horizons(objectives: Objectives, config: RunConfig) -> None:
    """Refuse an objective that looks further than an answer goes."""
    answer = config.data.build_task().answer_length
    for position, (label, part) in enumerate(objectives.parts.items()):
        horizon = getattr(part, "horizon", None)
        if horizon is not None and horizon > answer:
            raise UserError(
                f"{objectives.names[label]} looks {horizon} tokens ahead, and an answer of the task has {answer}; "
                f"let it look at most {answer} ahead",
                ("objective", position),
            )


def weight_digests(*modules: nn.Module) -> dict[str, str]:
    """Return ``shape:SHA-256`` of each parameter by name, such as "64x16:ab12…"; equal texts mean bit-equal weights."""
    return {
        name: f"{'x'.join(map(str, weight.shape))}:"
        + hashlib.sha256(f"{tuple(weight.shape)}{weight.dtype}".encode() + _bytes(weight)).hexdigest()
        for module in modules
        for name, weight in module.named_parameters()
    }


def _bytes(weight: Tensor) -> bytes:
    return weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
