"""What a model costs before it runs: parameters, FLOPs, memory; counted from the model itself, without storage."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from deepsight.architecture import Architecture
from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig
from deepsight.errors import UserError
from deepsight.layers import Attention
from deepsight.loss import next_token_loss
from deepsight.myopia import myopic
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.products import use_products
from deepsight.saved_memory import most_saved_bytes
from deepsight.training.step import accumulate_gradients

CHUNKED_CROSS_ENTROPY = "_linear_cross_entropy_batch_chunked"
"""torch's operator behind `deepsight.loss.linear_cross_entropy`."""


@dataclass(frozen=True)
class Cost:
    """What one model costs.

    Attributes:
        total: all parameters, positions and the objectives' included.
        without_positions: `total` less the position embeddings; the published tables count so.
        inference: what runs when the model predicts.
        training_only: the objectives' own.
        inference_flops_per_token: of one forward pass over a whole context, divided by all tokens that are read: those
            of a prefix, which are not predicted, too.
        training_flops_per_token: of forward, objectives and backward. As usual in the field, a causal attention counts
            all pairs of positions, and a multiplication and an addition are two. Myopic training counts as ordinary.
        training_memory: bytes held at the peak of a step: weights, gradients, AdamW's two moments, and what the forward
            pass of one micro-batch saves for its backward pass. An estimate: workspaces of kernels are not in it.

    """

    total: int
    without_positions: int
    inference: int
    training_only: int
    inference_flops_per_token: int
    training_flops_per_token: int
    training_memory: int

    def as_dict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)


def parameter_count(module: nn.Module) -> int:
    """Return the number of trainable and fixed parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def cost_of(config: RunConfig) -> Cost:
    """Count a run's model and objectives. Nothing of their size is allocated.

    An objective that looks at the values of its tensors cannot be counted without storage; it is counted with it.
    """
    return _without_storage(_counted, config)


def training_flops_per_token(config: RunConfig) -> int:
    """Count `Cost.training_flops_per_token` alone, in about half the time."""
    return _without_storage(_counted_training_flops, config)


Counted = TypeVar("Counted")


def _without_storage(count: Callable[[RunConfig], Counted], config: RunConfig) -> Counted:
    # What a run costs is no matter of the machine on which it is counted.
    with use_products("blas"):
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                return count(config)
        except (UserError, DataDependentOutputException, DynamicOutputShapeException):
            return count(config)


def _built(config: RunConfig) -> tuple[Architecture, Objectives]:
    model = build_model(config)
    objectives = build_objectives(config, model.shape)
    objectives.prepare(Preparation(model, lambda: torch.ones(model.vocabulary, dtype=torch.int64), config.seed))
    _without_attention_dropout(model)
    return model, objectives


def _counted_training_flops(config: RunConfig) -> int:
    model, objectives = _built(config)
    return _training_flops(model, objectives, config.sequence_length) // config.sequence_length


def _counted(config: RunConfig) -> Cost:
    model, objectives = _built(config)
    inference = parameter_count(model)
    training_only = parameter_count(objectives)
    total = inference + training_only
    trained = sum(w.numel() for part in (model, objectives) for w in part.parameters() if w.requires_grad)
    context = config.sequence_length
    forward = _forward_flops(model, context)
    training = _training_flops(model, objectives, context)
    rows = min(config.runtime.micro_batch_size or config.training.batch_size, config.training.batch_size)
    with myopic(config.training.myopic):
        saved = _saved_bytes(model, objectives, context, rows)
    position = model.embedding.position
    return Cost(
        total=total,
        without_positions=total - (0 if position is None else parameter_count(position)),
        inference=inference,
        training_only=training_only,
        inference_flops_per_token=forward // context,
        training_flops_per_token=training // context,
        # Weights, and of those that are trained gradients and two moments, four bytes each.
        training_memory=4 * total + 12 * trained + saved,
    )


def _batch(rows: int, context: int) -> torch.Tensor:
    return torch.zeros(rows, context, dtype=torch.int64)


def _later(objectives: Objectives, rows: int) -> torch.Tensor | None:
    return _batch(rows, objectives.lookahead) if objectives.lookahead else None


def _forward_flops(model: Any, context: int) -> int:
    with _flop_counter() as counter, torch.no_grad():
        model.logits(_batch(1, context))
    return int(counter.get_total_flops())


def _training_flops(model: Any, objectives: Objectives, context: int) -> int:
    with _flop_counter() as counter:
        trace = model(_batch(1, context), _batch(1, context))
        total = next_token_loss(trace)
        trace = dataclasses.replace(trace, later=_later(objectives, 1))
        for parts in objectives.losses(trace, 0).values():
            total = total + parts["loss"]
        torch.autograd.backward(total)
    return int(counter.get_total_flops())


def _flop_counter() -> FlopCounterMode:
    """Return torch's counter, told of the operators that it does not know: attention on the CPU, chunked losses."""

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    def backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]

    def cross_entropy(hidden: Any, weight: Any, *_: Any, **__: Any) -> int:
        # The gradients of both factors are made with the logits, chunk by chunk.
        return int(3 * 2 * math.prod(hidden) * weight[0])

    operators = torch.ops.aten
    known: dict[Any, Any] = {
        operators._scaled_dot_product_flash_attention_for_cpu: forward,
        operators._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    # torch makes this operator when its module is imported; older ones have neither.
    if find_spec("torch.nn.modules.linear_cross_entropy"):
        importlib.import_module("torch.nn.modules.linear_cross_entropy")
        known[getattr(torch.ops.torch_nn, CHUNKED_CROSS_ENTROPY)] = cross_entropy
    return FlopCounterMode(display=False, custom_mapping=known)


def _without_attention_dropout(model: nn.Module) -> None:
    """Let attention run in its memory-efficient form, as it does on CUDA, where dropout keeps no weights."""
    for part in model.modules():
        if isinstance(part, Attention):
            part.attention_dropout = 0.0


def _saved_bytes(model: Any, objectives: Objectives, context: int, rows: int) -> int:
    """Return the most bytes that a step keeps for its backward passes at once, weights left out."""
    tokens, later = _batch(rows, context), _later(objectives, rows)
    step = functools.partial(accumulate_gradients, model, objectives, tokens, tokens, later, seed=0, step=0)
    return most_saved_bytes(step, without=[*model.parameters(), *objectives.parameters()])
