"""What a model costs before it runs: parameters, FLOPs, memory; counted from the model itself, without storage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from deepsight.building import Objectives, build_model, build_objectives
from deepsight.config import RunConfig
from deepsight.layers import Attention
from deepsight.training.step import accumulate_gradients


@dataclass(frozen=True)
class Cost:
    """What one model costs.

    Attributes:
        total: all parameters, positions and the objectives' included.
        without_positions: `total` less the position embeddings; the published tables count so.
        inference: what runs when the model predicts.
        training_only: the objectives' own.
        inference_flops_per_token: of one forward pass over a whole context, divided by its tokens.
        training_flops_per_token: of forward, objectives and backward. As usual in the field, a causal attention counts
            all pairs of positions, and a multiplication and an addition are two.
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
    """Count a run's model and objectives. Nothing of their size is allocated."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build_model(config)
        objectives = build_objectives(config, model.shape)
        _without_attention_dropout(model)
        inference = parameter_count(model)
        training_only = parameter_count(objectives)
        total = inference + training_only
        context = config.model.context
        forward = _forward_flops(model, context)
        training = _training_flops(model, objectives, context)
        rows = min(config.runtime.micro_batch_size or config.training.batch_size, config.training.batch_size)
        saved = _saved_bytes(model, objectives, context, rows)
    return Cost(
        total=total,
        without_positions=total - parameter_count(model.embedding.position),
        inference=inference,
        training_only=training_only,
        inference_flops_per_token=forward // context,
        training_flops_per_token=training // context,
        # Weights, gradients and two moments, four bytes each.
        training_memory=16 * total + saved,
    )


def _batch(rows: int, context: int) -> torch.Tensor:
    return torch.zeros(rows, context, dtype=torch.int64)


def _forward_flops(model: Any, context: int) -> int:
    with _flop_counter() as counter, torch.no_grad():
        model.logits(_batch(1, context))
    return int(counter.get_total_flops())


def _training_flops(model: Any, objectives: Objectives, context: int) -> int:
    with _flop_counter() as counter:
        trace = model(_batch(1, context), _batch(1, context))
        # Full logits here: the counter does not know torch's chunked cross-entropy.
        total = (trace.decoder_output @ trace.unembedding.T).sum()
        for parts in objectives.losses(trace, 0).values():
            total = total + parts["loss"]
        total.backward()
    return int(counter.get_total_flops())


def _flop_counter() -> FlopCounterMode:
    """Return torch's counter, told of the attention operators that run on the CPU."""

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    def backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]

    operators = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            operators._scaled_dot_product_flash_attention_for_cpu: forward,
            operators._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        },
    )


def _without_attention_dropout(model: nn.Module) -> None:
    """Let attention run in its memory-efficient form, as it does on CUDA, where dropout keeps no weights."""
    for part in model.modules():
        if isinstance(part, Attention):
            part.attention_dropout = 0.0


def _saved_bytes(model: Any, objectives: Objectives, context: int, rows: int) -> int:
    """Return the bytes of all distinct tensors that a forward pass keeps for its backward pass, weights left out."""
    weights = {w.untyped_storage()._cdata for module in (model, objectives) for w in module.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            seen[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        accumulate_gradients(model, objectives, _batch(rows, context), _batch(rows, context), seed=0, step=0)
    return sum(seen.values())
