"""Loss on fixed validation windows, the same for every arm, and what objectives show of themselves there."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.data.source import Windows
from deepsight.evaluation.breakdown import Breakdown
from deepsight.loss import next_token_loss
from deepsight.objectives_of_run import Objectives
from deepsight.trace import IGNORED, Trace


@torch.no_grad()
def evaluate(
    model: Architecture,
    objectives: Objectives,
    windows: Windows,
    *,
    batch_size: int,
    token_bytes: Float[Tensor, " vocabulary"],
    device: torch.device,
    autocast: contextlib.AbstractContextManager[object],
    first_position: int = 0,
    alive: Callable[[], None] = lambda: None,
    breakdown: Breakdown | None = None,
) -> dict[str, float]:
    """Measure a model without dropout and without auxiliary terms.

    Args:
        windows: fixed sequences that are not trained on.
        token_bytes: UTF-8 bytes of each token, 0 for end of text.
        first_position: the next-token loss of positions before it does not count.
        alive: called at every batch.
        breakdown: takes the losses in, token by token.

    Returns:
        `validation_loss` (nats per token), `bits_per_byte` where tokens stand for text, each objective's ``label/loss``
        over all windows, and its diagnostics (``label/metric``) on the first batch of windows, which is spread over the
        whole split too.

    """
    modules: tuple[nn.Module, ...] = (model, objectives)
    before = [module.training for module in modules]
    for module in modules:
        module.eval()
    sums: dict[str, float] = {"next_token": 0.0}
    counted, text_bytes, rows, diagnostics = 0, 0.0, 0, dict[str, Tensor]()
    for position, batch in enumerate(windows.batches(batch_size)):
        alive()
        inputs, targets, later = batch.to(device)
        with autocast:
            trace = dataclasses.replace(model(inputs, targets), later=later)
            measured = _from(trace, first_position - (targets.shape[1] - trace.targets.shape[1]))
            counts = measured.targets != IGNORED
            sums["next_token"] += float(next_token_loss(measured)) * int(counts.sum())
            said = objectives.losses(trace, 0, position)
            for label, parts in said.items():
                key = f"{label}/loss"
                sums[key] = sums.get(key, 0.0) + float(parts["loss"]) * inputs.shape[0]
            if position == 0:
                diagnostics = objectives.diagnostics(trace)
            if breakdown is not None:
                breakdown.add(measured, said, position)
        counted += int(counts.sum())
        rows += inputs.shape[0]
        text_bytes += float(token_bytes[measured.targets[counts]].sum(dtype=torch.float64))
    for module, mode in zip(modules, before, strict=True):
        module.train(mode)
    nats = sums.pop("next_token")
    return {
        "validation_loss": nats / counted,
        **({"bits_per_byte": nats / text_bytes / math.log(2)} if text_bytes else {}),
        **{name: value / rows for name, value in sums.items()},
        **{name: float(value) for name, value in diagnostics.items()},
    }


def _from(trace: Trace, first: int) -> Trace:
    """Return the trace with the targets of its rows before `first` ignored."""
    if first <= 0:
        return trace
    targets = trace.targets.clone()
    targets[:, :first] = IGNORED
    return dataclasses.replace(trace, targets=targets)
