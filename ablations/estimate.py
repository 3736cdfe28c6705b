"""How long a study will take on this machine, from a short measurement of each distinct shape."""

from __future__ import annotations

import time

import torch

from ablations.plan import Plan
from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig
from deepsight.files import digest_of_json
from deepsight.objective import Preparation
from deepsight.training.device import autocast, chosen_device
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients

TOKENS_MEASURED = 2048
"""Tokens of the measured step; a whole batch of a large run would take minutes on a small machine."""

START_SECONDS = 0.5
EVALUATION_SHARE = 1 / 3
"""A forward pass costs about a third of forward and backward."""


def estimated_seconds(plan: Plan, workers: int, done: set[str]) -> float:
    """Return the estimated wall time in seconds of the trials that are not done.

    One step of each distinct shape is measured with one thread, as trials run.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        known: dict[str, float] = {}
        total = 0.0
        for trial in plan.trials:
            if trial.id in done:
                continue
            config = trial.config
            data = config.complete()
            key = digest_of_json([data["model"], data["objective"], data["data"]["tokenizer"]])
            if key not in known:
                known[key] = seconds_per_token(config)
            total += START_SECONDS + known[key] * _tokens(config)
    finally:
        torch.set_num_threads(before)
    return total / workers


def seconds_per_token(config: RunConfig) -> float:
    """Measure a training step on random tokens and return the seconds for one token: the better of two, after one."""
    device = chosen_device(config.runtime.device)
    model = build_model(config).to(device)
    objectives = build_objectives(config, model.shape).to(device)
    objectives.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64), config.seed))
    optimizer = build_optimizer([model, objectives], config.training)
    context = config.model.context
    rows = max(1, min(config.training.batch_size, TOKENS_MEASURED // context))
    generator = torch.Generator().manual_seed(0)
    later = objectives.lookahead
    tokens = torch.randint(config.data.vocabulary, (rows, context + 1 + later), generator=generator).to(device)
    times = []
    for step in range(3):
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
        times.append(time.perf_counter() - started)
    return min(times[1:]) / (rows * context)


def _tokens(config: RunConfig) -> float:
    """Return the tokens a trial trains on, and those it is measured on at their lower cost."""
    training, evaluation = config.training, config.evaluation
    trained = training.steps * training.batch_size
    evaluations = 1 + -(-training.steps // evaluation.every)
    # Without a number of windows, the whole split is read; its size is not known before it is packed.
    measured = evaluations * (evaluation.windows or 256) * EVALUATION_SHARE
    return (trained + measured) * config.model.context
