"""AdamW with decay on matrices only, and the learning rate's path."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from deepsight.config import TrainingConfig
from deepsight.training.parallel import is_in_shards


def build_optimizer(modules: Iterable[nn.Module], config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter, 2019) over every trainable parameter of `modules`, each in one group.

    Matrices and embeddings decay; gains and biases (one-dimensional parameters) do not. What is in shards stands in
    groups of its own, since one kernel takes one kind.
    """
    # A tied weight is one parameter: a dict keyed by identity keeps it once, in order.
    parameters = list(
        {id(weight): weight for module in modules for weight in module.parameters() if weight.requires_grad}.values()
    )
    groups = [
        {
            "params": [w for w in parameters if (w.ndim >= 2) == decays and is_in_shards(w) == in_shards],
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for in_shards in (False, True)
        for decays in (True, False)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
        fused=True,
    )


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of step 0, 1, …: linear warm-up, then cosine decay to the final fraction."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
