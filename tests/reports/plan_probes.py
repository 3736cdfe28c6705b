"""What the probes of the plan's use and of losses by class found in trials that never ran, with known truths inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ablations.probed import ASKED, Probed
from ablations.stored import StoredStudy

ADDED = {"shuffled": 0.05, "averaged": 0.12, "other_document": 0.2}
READERS = {"cross_attention": 1.0, "decoder layer 1": 0.6, "decoder layer 2": 0.3, "bridge": 4.0, "everything": 8.0}
POSITIONS = [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 99)]
LAYERS = [("self", "encoder", 1), ("self", "encoder", 2), ("self", "decoder", 1), ("cross", "decoder", 1)]
COUNTS = [(1, 9, 0.02, 8.0), (10, 99, 0.08, 7.0), (100, 999, 0.3, 5.5), (1000, 9999, 0.6, 3.2)]
CLASSES = [
    ("unigram", 0.04, 2.0),
    ("last 1", 0.16, 1.5),
    ("last 2", 0.2, 1.2),
    ("last 3", 0.1, 1.3),
    ("none", 0.5, 5.8),
]


def use_of(study: StoredStudy, seeds: int = 5, *, task: bool = False) -> Probed:
    """The arm at place i loses i times `ADDED` where all cross-attention reads something else, later positions more.

    Attention to the same position is 0.1·i more than that of equal weights, in the last layer twice as much. The first
    arm has no cross-attention.
    """
    generator = np.random.default_rng(6)
    frames: dict[str, list[dict[str, Any]]] = {"increase": [], "positions": [], "task": [], "attention": []}
    for known, _ in _runs(study, seeds):
        if not (arm := [one.name for one in study.arms].index(str(known["arm"]))):
            continue
        for name, reader in ((name, reader) for name in ADDED for reader in READERS):
            added = arm * ADDED[name] * READERS[reader]
            place = {**known, "replaced_by": name, "read_by": reader}
            noise = generator.normal(0, 0.004)
            row = {"loss": 4.0, "replaced_loss": 4.0 + added, "increase": added + noise, "standard_error": 0.01}
            frames["increase"].append({**place, "tokens": 6400, "documents": 40, **row})
            for first, last in POSITIONS:
                more = added * (0.2 + 0.8 * np.log1p(first) / np.log1p(64)) + noise + generator.normal(0, 0.002)
                about = {"first_position": first, "last_position": last, "tokens": 64, "loss": 4.0}
                frames["positions"].append({**place, **about, "increase": more, "standard_error": 0.02})
            if task and not reader.startswith("decoder"):
                about = {"measure": "full_path/accuracy", "value": 0.9, "replaced_value": 0.9 - added / 10}
                frames["task"].append({**place, **about, "change": -added / 10})
        frames["attention"] += _attention(known, arm)
    if not task:
        del frames["task"]
    return _probed("plan_use", frames, study, seeds)


def losses_of(study: StoredStudy, seeds: int = 5) -> Probed:
    """The arm at place i is better than the first by 0.05·i in the class of what nothing tells, and nowhere else."""
    generator = np.random.default_rng(7)
    names = ("inferable", "frequency", "positions", "overall")
    frames: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for known, common in _runs(study, seeds):
        arm = [one.name for one in study.arms].index(str(known["arm"]))
        for name, share, loss in CLASSES:
            own = loss - 0.05 * arm * (name == "none") + common + generator.normal(0, 0.004)
            about = {"tokens": int(6400 * share), "share": share, "loss": own, "standard_error": 0.03}
            frames["inferable"].append({**known, "inferable_from": name, **about, "ngram_loss": 0.8 * loss})
        frames["inferable"].append(
            {**known, "inferable_from": "last 4", "tokens": 0, "share": 0.0, "loss": None, "standard_error": None,
             "ngram_loss": None}
        )  # fmt: skip
        for least, most, share, loss in COUNTS:
            own = loss - 0.02 * arm + common + generator.normal(0, 0.004)
            about = {"tokens": int(6400 * share), "share": share, "loss": own, "standard_error": 0.03}
            frames["frequency"].append(
                {**known, "least_count": least, "most_count": most, **about, "ngram_loss": loss + 1}
            )
        for first, last in POSITIONS:
            about = {"first_position": first, "last_position": last, "tokens": 64, "share": 0.01, "loss": 4.0}
            frames["positions"].append({**known, **about, "standard_error": 0.1, "ngram_loss": 4.5})
        for name, loss in (("network", 3.9 + common), ("unigram", 6.0), ("last 1", 5.0), ("last 2", 4.5)):
            frames["overall"].append({**known, "predictor": name, "tokens": 6400, "loss": loss, "standard_error": 0.03})
    return _probed("token_losses", frames, study, seeds)


def _runs(study: StoredStudy, seeds: int) -> list[tuple[dict[str, Any], float]]:
    """Return each run, and what its seed has in common with those of other arms."""
    common = np.random.default_rng(8).normal(0, 0.02, seeds)
    return [
        ({"arm": arm.name, "seed": seed, "trial": trial}, float(common[place]))
        for arm in study.arms
        for place, (seed, trial) in enumerate(list(arm.trials.items())[:seeds])
    ]


def _attention(known: dict[str, Any], arm: int) -> list[dict[str, Any]]:
    ranges = [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 99)]
    equal = np.array([5.0, 5, 9, 14, 18, 20, 19, 10]) / 100
    rows = []
    for depth, (kind, stack, layer) in enumerate(LAYERS):
        for head in (None, 1, 2):
            near = 0.1 * arm * (2 if depth == len(LAYERS) - 1 else 1) * (1 if head is None else 2 * head - 2)
            near = min(near, 0.9)
            shares = equal * (1 - near) + np.eye(len(ranges))[0] * near
            for (first, last), share, uniform in zip(ranges, shares, equal, strict=True):
                place = {"attention": kind, "stack": stack, "layer": layer, "head": head}
                row = {"first_distance": first, "last_distance": last, "share": share, "uniform_share": uniform}
                rows.append({**known, **place, **row, "weight": share / (last - first + 1)})
    return rows


def _probed(probe: str, frames: dict[str, list[dict[str, Any]]], study: StoredStudy, seeds: int) -> Probed:
    asked = [
        {**known, "probe": probe, "spec": {"name": probe}, "seconds": 2.0, "error": None}
        for known, _ in _runs(study, seeds)
    ]
    found = {(probe, name): pd.DataFrame(rows) for name, rows in frames.items()}
    return Probed(found, pd.DataFrame(asked, columns=list(ASKED)))
