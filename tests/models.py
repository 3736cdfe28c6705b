"""Small models for tests, by a few sizes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.initialisation import initialise
from deepsight.plug_ins import architectures
from deepsight.trace import Trace
from deepsight.validation import validated

ARCHITECTURES = ("deepsight", "encoder_decoder", "baseline")
"""Those that predict a next token at every position of a window."""

EVERY_ARCHITECTURE = (*ARCHITECTURES, "canonical")


def small_model(
    architecture: str | dict[str, Any] = "deepsight",
    *,
    vocabulary: int = 31,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **shape: Any,
) -> Architecture:
    """Return an initialised model; `shape` changes width 16, heads 2, layers [2, 2], context 12."""
    written = {"architecture": architecture, "width": 16, "heads": 2, "layers": [2, 2], "context": 12, **shape}
    config = validated(ModelConfig, written)
    config = architectures[config.architecture_name].factory.normalised(config)
    model: Architecture = architectures.build(config.architecture, config=config, vocabulary=vocabulary)
    initialise(model, seed)
    return model.to(dtype)


def lively(model: Architecture, seed: int = 0) -> Architecture:
    """Give every weight a size at which all parts of the network matter, and return the model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.empty(weight.shape, dtype=weight.dtype).normal_(0.0, 0.3, generator=generator)
            weight.copy_(noise + (1.0 if weight.ndim == 1 else 0.0))
    return model


def random_tokens(model: Architecture, batch: int, time: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(model.vocabulary, (batch, time), generator=generator)


def random_trace(model: Architecture, batch: int = 2, time: int | None = None, seed: int = 0) -> Trace:
    """Return what the model leaves of random tokens; each target is the next token."""
    tokens = random_tokens(model, batch, (time or model.config.context) + 1, seed)
    return model(tokens[:, :-1].clone(), tokens[:, 1:].clone())


@st.composite
def model_shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an architecture and sizes for `small_model`."""
    heads = draw(st.integers(1, 3))
    return {
        "architecture": draw(st.sampled_from(ARCHITECTURES)),
        "heads": heads,
        "width": heads * draw(st.integers(1, 4)),
        "layers": [draw(st.integers(1, 2)), draw(st.integers(1, 2))],
        "context": draw(st.integers(2, 9)),
        "vocabulary": draw(st.integers(2, 20)),
    }
