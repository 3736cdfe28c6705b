"""Initial weights by named streams: what two arms share by name and shape starts equal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from deepsight.random_streams import derive


@contextlib.contextmanager
def own_stream(seed: int, *purpose: str | int) -> Iterator[None]:
    """Inside this block torch's global generator belongs to one purpose; afterwards it is as before."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, *purpose))
        yield


def initialise(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Fill the weights of our layers in place, each from a stream named after the parameter.

    A parameter of the same name and shape starts equal in every arm of a study, whatever else the arm builds.
    Modules without an `initial_std` keep what their constructor gave them.

    Args:
        module: the network.
        seed: of the run.
        prefix: put before parameter names, to tell several modules of a run apart.

    """
    for name, part in module.named_modules():
        std = getattr(part, "initial_std", None)
        if std is None:
            continue
        weight = part.get_parameter("weight")
        generator = torch.Generator().manual_seed(derive(seed, "initialisation", f"{prefix}{name}.weight"))
        with torch.no_grad():
            weight.copy_(torch.empty(weight.shape).normal_(0.0, float(std), generator=generator))
