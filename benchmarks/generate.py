"""How long it takes to generate text."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from benchmarks.apart import Apart
from benchmarks.measuring import Comparison, speed, turns
from benchmarks.options import Options

TOKENS = 399
"""Up to the context of shape A, from a prompt of one token."""

BATCHES = (1, 16)
PAIRS = (
    ("DeepSight", "plain original", 10.0),
    ("baseline", "GPT-2 of transformers", 1.5),
    ("baseline", "decoder of x-transformers", None),
)
MOST_REPEATS = 3
ONCE_FROM = 60.0
"""Seconds; the original takes ten minutes for the larger batch."""


def run(options: Options) -> Iterator[Comparison]:
    """Let ours and a peer take turns, pair by pair, shape by shape, and batch by batch."""
    for shape in options.shapes:
        count = min(TOKENS, shape.context - 1)
        for ours, peer, target in PAIRS:
            if not (options.takes(ours) and options.takes(peer)):
                continue
            with Apart(ours, shape, options) as one, Apart(peer, shape, options) as other:
                for batch in BATCHES:
                    jobs = {
                        ours: functools.partial(one.generate, batch, count),
                        peer: functools.partial(other.generate, batch, count),
                    }
                    seconds = turns(jobs, min(options.repeats, MOST_REPEATS), warm=0, once_from=ONCE_FROM)
                    yield speed("generate", shape.name, f"{count} tokens, batch {batch}", seconds, ours, peer, target)
