"""How long a training step takes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.apart import Apart
from benchmarks.measuring import Comparison, speed, turns
from benchmarks.options import Options

PAIRS = (
    ("DeepSight", "plain original", 1.3),
    ("DeepSight, compiled", "plain original", None),
    ("DeepSight, MKL", "plain original", None),
    ("DeepSight", "encoder-decoder of x-transformers", None),
    ("baseline", "GPT-2 of transformers", 1.3),
    ("baseline, compiled", "GPT-2 of transformers", None),
    ("baseline, MKL", "GPT-2 of transformers", None),
    ("baseline", "decoder of x-transformers", None),
)
"""Ours, the peer, and the ratio that was asked for."""


def run(options: Options) -> Iterator[Comparison]:
    """Let ours and a peer take turns, step by step, pair by pair and shape by shape."""
    for shape in options.shapes:
        for ours, peer, target in PAIRS:
            if options.takes(ours) and options.takes(peer):
                with Apart(ours, shape, options) as one, Apart(peer, shape, options) as other:
                    seconds = turns({ours: one.step, peer: other.step}, options.repeats)
                yield speed("step", shape.name, "training step", seconds, ours, peer, target)
