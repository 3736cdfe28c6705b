"""One optimiser step's worth of forward and backward, apart from the loop and free of files."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.loss import next_token_loss
from deepsight.objectives_of_run import LOSS, Objectives
from deepsight.random_streams import derive
from deepsight.ranks import sharing_a_batch
from deepsight.trace import IGNORED, Trace
from deepsight.training.parallel import Alone
from deepsight.training.seam import Seam

Scalar = Float[Tensor, ""]
Context = contextlib.AbstractContextManager[object]

NEXT_TOKEN = "next_token"


def accumulate_gradients(
    model: Architecture,
    objectives: Objectives,
    inputs: Int[Tensor, "batch time"],
    targets: Int[Tensor, "batch time"],
    later: Int[Tensor, "batch later"] | None = None,
    *,
    seed: int,
    step: int,
    coefficients: Mapping[str, float] | None = None,
    micro_batch_size: int | None = None,
    autocast: Context | None = None,
    watch: bool = False,
    parallel: Alone | None = None,
) -> dict[str, Scalar]:
    """Add the gradients of next-token loss + Σ coefficient · objective to the parameters, micro-batch by micro-batch.

    Dropout draws from a stream of (seed, step, first row of the micro-batch), each objective from one of (seed, step,
    micro-batch), so what one of them draws moves no other. Rows are numbered through all processes, and micro-batches
    in each by itself: what compares rows draws alike everywhere. An objective whose coefficient is zero does not run.

    Args:
        model, objectives: their parameters receive the gradients.
        inputs, targets: one batch.
        later: tokens after the last target, for objectives that ask for them.
        seed: of the run.
        step: from 0.
        coefficients: of each objective at this step; those of the first step when not given.
        micro_batch_size: sequences at a time; all when not given.
        autocast: the context of the forward passes.
        watch: also measure each objective's share of the gradient, in the last micro-batch.
        parallel: how this process shares the batch with others; it takes its own rows, and all end with the gradients
            and metrics of the whole batch.

    Returns:
        `next_token`, and every objective's metrics as ``label/metric``: means over the batch, detached.

    """
    coefficients = objectives.coefficients() if coefficients is None else coefficients
    parallel = parallel or Alone(model, objectives)
    active = [label for label in objectives.parts if coefficients[label] != 0]
    metrics: dict[str, Scalar] = {}
    own = parallel.ranks.own_rows(inputs.shape[0])
    rows = micro_batch_size or own.stop - own.start
    counted: Tensor | None = None
    starts = range(own.start, own.stop, rows)
    for position, start in enumerate(starts):
        part, last = slice(start, min(start + rows, own.stop)), position == len(starts) - 1
        torch.manual_seed(derive(seed, "dropout", step, start))
        parallel.before_forward()
        with autocast or contextlib.nullcontext():
            trace = parallel.forward(inputs[part], targets[part])
        if later is not None:
            trace = dataclasses.replace(trace, later=later[part])
        counted = _counted(trace, targets) if counted is None else counted
        tokens_share = (trace.targets != IGNORED).sum().double() / counted
        batch_share = trace.tokens.shape[0] / inputs.shape[0]
        # Also where next-token loss is alone: an objective beside it must not change the order of any sum.
        seam = Seam(trace)
        with autocast or contextlib.nullcontext():
            share = tokens_share * next_token_loss(seam.trace)
        seam.backward(NEXT_TOKEN, share)
        _add(metrics, NEXT_TOKEN, share)
        for label in active:
            objectives.draw(label, seed, step, position)
            with sharing_a_batch(parallel.ranks):
                said = _objective(seam, objectives, label, batch_share * coefficients[label], autocast)
            for name, value in said.items():
                _add(metrics, f"{label}/{name}", batch_share * value)
        watched = watch and last
        if last:
            parallel.before_last_backward()
        seam.finish(watch=watched)
        for label in active if watched else []:
            for name, value in seam.shares(label).items():
                _add(metrics, f"{label}/{name}", value / parallel.ranks.size)
    parallel.gather_gradients()
    parallel.ranks.add_up(list(metrics.values()))
    return metrics


def _objective(
    seam: Seam, objectives: Objectives, label: str, scale: float, autocast: Context | None
) -> dict[str, Scalar]:
    """Differentiate the terms of one objective as they come, and return them and their sum, detached."""
    said: dict[str, Scalar] = {}
    total: Tensor | None = None
    terms = objectives.terms(label, seam.trace)
    while True:
        with autocast or contextlib.nullcontext():
            term = next(terms, None)
        if term is None:
            break
        said[term.name] = term.loss.detach()
        if term.weight != 0:
            with objectives.failing_well(label):
                seam.backward(label, scale * term.weight * term.loss)
            part = term.weight * term.loss.detach()
            total = part if total is None else total + part
    if not seam.untouched():
        raise UserError(f"{objectives.described(label)} changes the trace that it reads, in place")
    said[LOSS] = seam.trace.decoder_output.new_zeros(()) if total is None else total
    return said


def _counted(trace: Trace, targets: Tensor) -> Tensor:
    """Return the positions of a whole batch that count; an architecture may predict only a window's last ones."""
    return (targets[:, targets.shape[1] - trace.targets.shape[1] :] != IGNORED).sum()


def _add(metrics: dict[str, Scalar], name: str, value: Tensor) -> None:
    value = value.detach().float()
    metrics[name] = metrics[name] + value if name in metrics else value
