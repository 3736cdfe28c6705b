"""Traces whose states are free numbers, for objectives that need no network behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from deepsight.trace import IGNORED, Shape, Trace

VOCABULARY, WIDTH, END = 7, 4, 0
SHAPE = Shape(vocabulary=VOCABULARY, width=WIDTH, context=16, heads=2, layers=3)


def free_trace(batch: int = 2, time: int = 6, *, prompt: int = 0, end: int | None = None, seed: int = 0) -> Trace:
    """Return a trace in float64: random tokens, the first `prompt` targets ignored, and states that are leaves."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(VOCABULARY, (batch, time + 1), generator=generator)
    targets = text[:, 1:].clone()
    targets[:, :prompt] = IGNORED

    def leaf(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, dtype=torch.float64, generator=generator).requires_grad_()

    layers = tuple(leaf(batch, time, WIDTH) for _ in range(SHAPE.layers))
    embedded, decoded, matrix = leaf(batch, time, WIDTH), leaf(batch, time, WIDTH), leaf(VOCABULARY, WIDTH)
    return Trace(text[:, :-1], targets, embedded, layers[0], decoded, matrix, layers=layers, end_of_text=end)


def one_document(trace: Trace, row: int, first: int, last: int) -> bool:
    """Return whether no document ends at the tokens of positions first … last - 1."""
    return trace.end_of_text not in trace.tokens[row, first:last].tolist()


def counts_ahead(trace: Trace, row: int, t: int, k: int) -> bool:
    """Return whether the token k positions after t is a target in the window and in the document of t + 1."""
    time: int = trace.targets.shape[1]
    if t + k > time or trace.targets[row, t + k - 1] == IGNORED:
        return False
    # A prompt has no targets, but its tokens end documents all the same.
    return trace.end_of_text is None or trace.end_of_text not in trace.tokens[row, t + 1 : t + k].tolist()


def filled(module: Any, seed: int = 0) -> Any:
    """Give every weight of a module a size that matters, in float64, and return the module."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.double().parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, dtype=torch.float64, generator=generator))
    return module


def flops(loss: Callable[[], torch.Tensor]) -> int:
    """Return the FLOPs of a loss and its gradients, as torch counts them: matrix products alone."""
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(loss())
    return counter.get_total_flops()
