"""What probes found in trials that never ran, with known truths inside."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ablations.probed import ASKED, Probed
from ablations.stored import StoredStudy

PLACES = ("layer 1", "encoder", "bridge", "layer 2", "decoder")
BASELINE_PLACES = ("layer 1", "encoder", "layer 2", "decoder")
DISTANCES = 6
TEXT = 3.6
"""Nats of the token one ahead where only the token at hand is known."""


def probed_of(study: StoredStudy, seeds: int = 3, *, hidden: bool = True) -> Probed:
    """The arm at place i reads 0.1·(i + 1) nats more than the text's pairs tell, halved with each token further ahead.

    The last arm has no bridge. Small networks read twice as much; deeper places read a little more.
    """
    generator = np.random.default_rng(4)
    states, controls, bags, examples, asked = [], [], [], [], []
    for at, arm in enumerate(study.arms):
        for seed, trial in list(arm.trials.items())[:seeds]:
            known = {"arm": arm.name, "seed": seed, "trial": trial}
            places = BASELINE_PLACES if at == len(study.arms) - 1 else PLACES
            for ahead in range(1, DISTANCES + 1):
                text = TEXT + 0.15 * ahead
                for name, nats in (("unigram", 4.8), ("bigram", 5.0), ("text_bigram", text)):
                    controls.append({**known, **control(name, None, None, ahead, nats)})
                for depth, place in enumerate(places):
                    for probe in ("linear", "mlp") if hidden else ("linear",):
                        read = 0.1 * (at + 1) * 2.0 ** (1 - ahead) * (2 if probe == "mlp" else 1)
                        nats = text - read - 0.01 * depth + generator.normal(0, 0.003)
                        states.append({**known, **state(place, probe, ahead, nats, text)})
                        controls.append({**known, **control("untrained", place, probe, ahead, 4.6)})
            for depth, place in enumerate(places):
                gain = 0.02 * (at + 1) + 0.005 * depth - 0.03
                row = {"positions": 900, "tokens": 80, "average_precision": 0.3 + gain, "roc_area": 0.7, "gain": gain}
                bags.append({**known, "place": place, **row})
            examples.append({**known, "train_positions": 3000, "test_positions": 900, "tokens_told_apart": 512,
                             "targets_told_apart": 0.82})  # fmt: skip
            asked += [{**known, "probe": name, "spec": {"name": name}, "seconds": 3.0, "error": None}
                      for name in ("future", "future_bag")]  # fmt: skip
    frames = {
        ("future", "states"): states, ("future", "controls"): controls, ("future", "examples"): examples,
        ("future_bag", "states"): bags, ("future_bag", "examples"): examples,
    }  # fmt: skip
    return Probed({name: pd.DataFrame(rows) for name, rows in frames.items()}, pd.DataFrame(asked, columns=list(ASKED)))


def state(place: str, probe: str, ahead: int, nats: float, text: float) -> dict[str, object]:
    bits = {"above_unigram": 4.8 - nats, "above_bigram": 5.0 - nats, "above_text_bigram": text - nats}
    bits = {name: value / math.log(2) for name, value in {**bits, "above_untrained": 4.6 - nats}.items()}
    row = {"place": place, "probe": probe, "ahead": ahead, "positions": 900, "accuracy": 0.2, "cross_entropy": nats}
    return {**row, "bits": min(bits.values()), **bits}


def control(name: str, place: str | None, probe: str | None, ahead: int, nats: float) -> dict[str, object]:
    return {"control": name, "place": place, "probe": probe, "ahead": ahead, "accuracy": 0.1, "cross_entropy": nats}
