"""What an objective may not do: change what the network says, or let a position know of what comes after it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from deepsight.testing.systems import Subject, essential_systems, more_systems_for, systems_for
from deepsight.trace import Trace

NOISE_VOCABULARY = 8
NOISE_STEPS = 30
NOISE_ROWS = 16
FRESH_BATCHES = 20
STANDARD_ERRORS = 5.0
"""How far below log V the loss on noise may fall by chance: less than one time in a million."""

LARGEST_CHANGE = 1e-9
"""In float64, relative to the largest logit: far above rounding, far below anything that training could use."""


def check_inference_untouched(spec: object) -> None:
    """Network, trace and logits are bit-equal before and after preparing, a training step's losses, and diagnostics."""
    for system in more_systems_for(spec):
        subject = Subject(spec, system, prepared=False)
        network = subject.network
        tokens = subject.windows()[0]
        weights, settings, logits = _state(network), _settings(network), _logits(network, tokens)
        subject.prepare()
        _compare(subject, weights, _state(network), "while it prepares, changes the network's {}")
        trace, content = _trace_of_a_step(subject)
        _compare(subject, content, _content(trace), "changes the trace that it reads, in place: {}")
        trace = subject.trace()
        content = _content(trace)
        subject.objectives.diagnostics(trace)
        _compare(subject, content, _content(trace), "changes the trace in its diagnostics: {}")
        subject.objectives.after_step(network)
        _compare(subject, weights, _state(network), "changes the network's {}")
        _compare(subject, logits, _logits(network, tokens), "changes the network's {}")
        if settings != _settings(network):
            raise subject.broken("changes which of the network's parts train")
        shared = {id(weight) for weight in network.parameters()} & {id(w) for w in subject.objectives.parameters()}
        if shared:
            name = next(name for name, weight in network.named_parameters() if id(weight) in shared)
            raise subject.broken(f"holds the network's parameter {name!r} as its own: read it from the trace")


def _trace_of_a_step(subject: Subject) -> tuple[Trace, dict[str, Tensor]]:
    """Return the trace of a training step, as it is afterwards, and what was in it before objectives read it."""
    traces: list[tuple[Trace, dict[str, Tensor]]] = []
    handle = subject.network.register_forward_hook(lambda _, __, trace: traces.append((trace, _content(trace))))
    try:
        subject.accumulate()
    finally:
        handle.remove()
    return traces[0]


def check_no_leak(spec: object) -> None:
    """The logits at t do not move when tokens after t change, for every t, when the objective has prepared and run."""
    for system in systems_for(spec):
        subject = Subject(spec, dataclasses.replace(system, dtype=torch.float64), lively=True, prepared=False)
        before = _furthest_leak(subject)
        if before is not None:
            raise subject.broken(
                f"cannot be checked: this architecture's own logits at position {before} see the future"
            )
        subject.prepare()
        subject.accumulate()
        subject.objectives.after_step(subject.network)
        leak = _furthest_leak(subject)
        if leak is not None:
            raise subject.broken(f"lets the logits at position {leak} depend on tokens that come after it")


def check_noise_stays_noise(spec: object) -> str:
    """Training on independent uniform tokens cannot bring the next-token loss on fresh ones below log V.

    Without a leak the network's distribution does not depend on the token it predicts, so its expected loss is at least
    log V. The mean over N fresh tokens may fall below by chance; `STANDARD_ERRORS` standard errors of it are allowed.
    """
    said = []
    for system in essential_systems():
        subject = Subject(spec, system, vocabulary=NOISE_VOCABULARY, end_of_text=None)
        subject.train(NOISE_STEPS, rows=NOISE_ROWS)
        for training in (False, True):
            subject.network.train(training)
            losses = _fresh_losses(subject)
            mean, chance = float(losses.mean()), math.log(NOISE_VOCABULARY)
            allowed = STANDARD_ERRORS * float(losses.std()) / math.sqrt(len(losses))
            if not mean >= chance - allowed:
                raise subject.broken(
                    f"lets the network read the future: after {NOISE_STEPS} steps on independent uniform tokens the "
                    f"next-token loss is {mean:.4f}, more than {STANDARD_ERRORS:.0f} standard errors ({allowed:.4f}) "
                    f"below log {NOISE_VOCABULARY} = {chance:.4f}"
                )
        said.append(f"{system.architecture} {mean:.4f}")
    return f"{', '.join(said)}; log {NOISE_VOCABULARY} = {chance:.4f}, tolerance {allowed:.4f}"


@torch.no_grad()
def _fresh_losses(subject: Subject) -> Tensor:
    """Return the next-token loss of each position of fresh batches."""
    found = []
    for batch in range(FRESH_BATCHES):
        trace = subject.trace(subject.windows(NOISE_ROWS, seed=10_000_000 + batch))
        logits = trace.decoder_output @ trace.unembedding.T
        found.append(nn.functional.cross_entropy(logits.flatten(0, 1), trace.targets.flatten(), reduction="none"))
    return torch.cat(found).double()


@torch.no_grad()
def _furthest_leak(subject: Subject) -> int | None:
    """Return a position whose logits move with later tokens, if there is one.

    One batch holds a sequence and, for each position after the first, the same with all tokens from there on changed.
    """
    network = subject.network
    (tokens,), (targets,), _ = subject.windows(rows=1)
    time = len(tokens)
    later = torch.arange(time) >= torch.arange(1, time + 1)[:, None]
    batch = torch.cat([tokens[None], torch.where(later, (tokens + 1) % network.vocabulary, tokens)])
    for training in (True, False):
        network.train(training)
        logits = _predicted(network(batch, targets.expand_as(batch).clone()))
        first = time - logits.shape[1]
        moved = (logits[1:] - logits[:1]).abs().amax(dim=-1)
        wrong = (moved > LARGEST_CHANGE * logits.abs().max()) & ~later[:, first:]
        if wrong.any():
            return first + int(wrong.any(dim=0).nonzero()[0])
    network.train()
    return None


def _predicted(trace: Trace) -> Tensor:
    return trace.decoder_output @ trace.unembedding.T


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in (*network.named_parameters(), *network.named_buffers())}


def _settings(network: nn.Module) -> dict[str, Any]:
    modes = {name: part.training for name, part in network.named_modules()}
    return modes | {f"{name}.grad": weight.requires_grad for name, weight in network.named_parameters()}


@torch.no_grad()
def _logits(network: Any, tokens: Tensor) -> dict[str, Tensor]:
    found, before = {}, network.training
    for mode in (True, False):
        network.train(mode)
        found[f"logits in {'training' if mode else 'evaluation'}"] = network.logits(tokens)
    network.train(before)
    return found


def _content(trace: Trace) -> dict[str, Tensor]:
    names = ("tokens", "targets", "input_embeddings", "encoder_output", "decoder_output", "unembedding")
    states = {name: getattr(trace, name) for name in names}
    states |= {f"layer {number}": state for number, state in enumerate(trace.layers, start=1)}
    return {name: state.detach().clone() for name, state in states.items()}


def _compare(subject: Subject, before: dict[str, Tensor], after: dict[str, Tensor], sentence: str) -> None:
    for name in {**before, **after}:
        if name not in before or name not in after or not torch.equal(before[name], after[name]):
            raise subject.broken(sentence.format(name))
