"""The planning loss written out, position by position in float64, against the product: all 108 combinations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from tests.reference.folder import AGGREGATORS, DISTANCES, MERGES, NORMS

Vector = np.ndarray[Any, np.dtype[np.float64]]
COMBINATIONS = list(itertools.product(NORMS.values(), AGGREGATORS.values(), MERGES.values(), DISTANCES.values()))

# Two ways of adding up the same float64 numbers.
TOLERANCE = 1e-12


def weight(aggregator: str, k: int, n: int) -> float:
    if aggregator == "average":
        return 1 / n
    return 1 / k if aggregator == "decay" else 1 / k / sum(1 / j for j in range(1, n + 1))


def normed(vector: Vector, gain: Vector, bias: Vector) -> Vector:
    centred = vector - vector.mean()
    return centred / math.sqrt((centred**2).mean() + 1e-5) * gain + bias


def distance_of(name: str, pairs: list[tuple[Vector, Vector]]) -> float:
    if name == "mse":
        return sum(float(((p - t) ** 2).sum()) for p, t in pairs) / sum(len(p) for p, _ in pairs)
    shares = [(float(p @ t) / math.sqrt(float(p @ p) * float(t @ t)) + 1) / 2 for p, t in pairs]
    return sum(1 - s if name == "cosine" else -math.log(s) for s in shares) / len(shares)


def planning_loss(
    embeddings: Vector, encoded: Vector, norms: dict[str, tuple[Vector, Vector]], n: int, combination: tuple[str, ...]
) -> float:
    """Loop over sequences and over the positions that have n successors; positions count from one, as published."""
    norm, aggregator, merge, distance = combination
    pairs = []
    for sequence, states in zip(embeddings, encoded, strict=True):
        seen = [normed(e, *norms["embedding_norm"]) if norm in ("before", "both") else e for e in sequence]
        for i in range(1, len(seen) - n + 1):
            present = sum(seen[:i]) / i
            future = sum(weight(aggregator, k, n) * seen[i + k - 1] for k in range(1, n + 1))
            if merge == "equal":
                target = (present + future) / 2
            elif merge == "context_size":
                target = i / (i + n) * present + n / (i + n) * future
            else:
                target = future
            if norm in ("after", "both"):
                target = normed(target, *norms["context_norm"])
            pairs.append((normed(states[i - 1], *norms["encoder_norm"]), target))
    return distance_of(distance, pairs)


def both_losses(batch: int, time: int, width: int, n: int, combination: tuple[str, ...], seed: int) -> list[float]:
    """Return the loop's loss and the product's for the same random numbers."""
    norm, aggregator, merge, distance = combination
    draw = np.random.default_rng(seed)
    embeddings, encoded = draw.normal(size=(2, batch, time, width))
    shape = Shape(vocabulary=5, width=width, context=time, heads=1)
    spec = {"name": "future_context", "n": n, "norm": norm, "aggregator": aggregator}
    product = objectives.build({**spec, "merge": merge, "distance": distance}, shape=shape).double()
    norms = {}
    for name in ("encoder_norm", "embedding_norm", "context_norm"):
        norms[name] = (draw.normal(1, 0.3, width), draw.normal(0, 0.3, width))
        part = getattr(product, name)
        if list(part.parameters()):
            part.load_state_dict({"weight": torch.tensor(norms[name][0]), "bias": torch.tensor(norms[name][1])})
    loop = planning_loss(embeddings, encoded, norms, n, combination)
    tokens = torch.zeros(batch, time, dtype=torch.int64)
    states = torch.tensor(encoded)
    trace = Trace(tokens, tokens, torch.tensor(embeddings), states, states, torch.zeros(5, width))
    return [loop, product(trace)["loss"].item()]


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_the_loop_and_the_product_agree(combination: tuple[str, ...]) -> None:
    loop, product = both_losses(batch=2, time=11, width=6, n=4, combination=combination, seed=0)
    assert product == pytest.approx(loop, rel=TOLERANCE, abs=TOLERANCE)


@settings(max_examples=30)
@given(
    combination=st.sampled_from(COMBINATIONS),
    batch=st.integers(1, 2),
    n=st.integers(1, 70),
    rows=st.integers(1, 70),
    width=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_they_agree_at_any_shape(
    combination: tuple[str, ...], batch: int, n: int, rows: int, width: int, seed: int
) -> None:
    loop, product = both_losses(batch, n + rows, width, n, combination, seed)
    assert product == pytest.approx(loop, rel=1e-10, abs=1e-10)
