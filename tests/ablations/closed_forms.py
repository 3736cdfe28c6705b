"""Sizes of the built-in architectures, written out by hand, and random runs to compare them on."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepsight.config import ModelConfig, RunConfig
from tests.runs import run_of

SUBTRACTIONS = {"none": (0, 0), "plain": (1, 0), "normed": (1, 1)}
"""Rows that the position table has more, and norms."""


def parts(model: ModelConfig) -> dict[str, Any]:
    """Return the architecture's own parameters, those of `encoder_decoder` with their defaults."""
    written = model.architecture if isinstance(model.architecture, dict) else {}
    return {"subtract_positions": "plain", "add_positions": False, "bridge_norm": False, **written}


def stacks(model: ModelConfig) -> tuple[int, int]:
    """Return the numbers of layers without and with cross-attention."""
    return (model.layers, 0) if isinstance(model.layers, int) else (model.layers[0], model.layers[1])


def parameters(config: RunConfig) -> int:
    """Embeddings, norms, 4 w² + 2 w f + 2 w a layer, 4 w² + 2 w more with cross-attention, and a bridge of w²."""
    model, name = config.model, config.model.architecture_name
    width, (plain, crossed) = model.width, stacks(model)
    inner = model.feed_forward or 4 * width
    rows, norms, bridge = model.context, 1, 0
    if name == "encoder_decoder":
        more_rows, more_norms = SUBTRACTIONS[parts(model)["subtract_positions"]]
        rows += max(more_rows, int(parts(model)["add_positions"]))
        norms += more_norms + int(parts(model)["bridge_norm"])
    if name in ("deepsight", "encoder_decoder"):
        bridge = width**2
    if model.positions == "rotary":
        rows = 0
    block, cross = 4 * width**2 + 2 * width * inner + 2 * width, 4 * width**2 + 2 * width
    return (config.data.vocabulary + rows + norms) * width + bridge + (plain + crossed) * block + crossed * cross


def training_flops(config: RunConfig) -> float:
    """Of a run without objectives: a weight three times, attention's two products three and a half times."""
    model, name = config.model, config.model.architecture_name
    width, context, (plain, crossed) = model.width, model.context, stacks(model)
    inner = model.feed_forward or 4 * width
    read, decoded, cross_weights = context, context, crossed * 4 * width**2 * context
    pairs = (plain + 2 * crossed) * context**2
    if name == "canonical":
        read = parts(model)["prefix"]
        decoded = context - read
        cross_weights = crossed * 2 * width**2 * (decoded + read)
        pairs = plain * read**2 + crossed * decoded * (decoded + read)
    block = 4 * width**2 + 2 * width * inner
    weights = block * (plain * read + crossed * decoded) + cross_weights
    if name == "baseline":
        weights = block * plain * context
    if name in ("deepsight", "encoder_decoder"):
        weights += width**2 * context
    weights += config.data.vocabulary * width * decoded
    return 2 * (3 * weights + 3.5 * 2 * pairs * width) / context


def random_run(draw: random.Random, most_layers: int = 2) -> RunConfig:
    """Return a run of a random shape on a random architecture, without objectives."""
    name = draw.choice(["deepsight", "encoder_decoder", "canonical", "baseline"])
    context = draw.randint(4, 96)
    positions = draw.choice(["learned", "rotary"])
    architecture: str | dict[str, Any] = name
    if name == "canonical":
        architecture = {"name": name, "prefix": draw.randint(1, context - 1)}
    if name == "encoder_decoder":
        learned = positions == "learned"
        architecture = {
            "name": name,
            "subtract_positions": draw.choice(list(SUBTRACTIONS)) if learned else "none",
            "add_positions": learned and draw.random() < 0.3,
            "bridge_norm": draw.random() < 0.5,
        }
    heads, head_width = draw.randint(1, 6), draw.randint(4, 24)
    return run_of(
        Path("unread"),
        model__architecture=architecture,
        model__width=heads * head_width,
        model__heads=heads,
        model__cross_heads=draw.choice([None, *(n for n in range(1, heads + 1) if heads % n == 0)]),
        model__layers=[draw.randint(1, most_layers), draw.randint(1, most_layers)],
        model__context=context,
        model__positions=positions,
        model__feed_forward=draw.choice([*7 * [None], draw.randint(1, 8) * heads * head_width]),
        data__tokenizer=draw.choice(["bytes", f"bpe:{draw.randint(257, 700)}"]),
        objective="none",
    )


def random_pair(draw: random.Random, size: Callable[[RunConfig], float], most_layers: int = 2) -> list[RunConfig]:
    """Return two random runs, one at most three times as large as the other."""
    while True:
        pair = [random_run(draw, most_layers) for _ in range(2)]
        small, large = sorted(map(size, pair))
        if large <= 3 * small:
            return pair
