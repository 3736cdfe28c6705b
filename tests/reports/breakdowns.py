"""Breakdowns of trials that never ran, with known truths inside."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ablations.breakdowns import Breakdowns
from ablations.stored import StoredStudy

CONTEXT, DOCUMENTS = 20, 12


def breakdowns_of(study: StoredStudy, seeds: int = 5, *, heads: int = 3) -> Breakdowns:
    """Every arm but the reference is better by 0.01 nats times its place; all but the reference have `heads` heads.

    Documents hold 60 tokens, the last one only 10; on every third one an arm is worse instead.
    """
    generator = np.random.default_rng(3)
    common = {seed: generator.normal(0, 0.02) for seed in range(seeds)}
    positions, documents, ahead = [], [], []
    for place, arm in enumerate(study.arms):
        for seed, trial in list(arm.trials.items())[:seeds]:
            known = {"trial": trial, "arm": arm.name, "seed": seed}
            gain = 0.0 if arm.name == study.reference else 0.01 * (place + 1)
            for position in range(CONTEXT):
                loss = 5 - np.log1p(position) / 2 - gain + common[seed] + generator.normal(0, 0.002)
                positions.append({**known, "position": position, "nats": 30 * loss, "tokens": 30})
            for document in range(DOCUMENTS):
                tokens = 10 if document == DOCUMENTS - 1 else 60
                loss = 4 + document / 10 + (gain if document % 3 == 0 else -gain) + common[seed]
                documents.append({**known, "document": document, "nats": tokens * loss, "tokens": tokens})
            if gain and heads:
                ahead += [
                    {**known, "objective": "multi_token", "distance": k, "loss": 4 + 0.5 * k - gain + common[seed]}
                    for k in range(2, 2 + heads)
                ]
    return Breakdowns(pd.DataFrame(positions), pd.DataFrame(documents), pd.DataFrame(ahead or None))
