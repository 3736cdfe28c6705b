"""What probes would find in trials that never ran, with known truths inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablations.layer_gradients import WHOLE
from ablations.stored import StoredStudy
from reports.figures.probes import DRAWINGS
from reports.figures.style import arm_styles

SMALL = (
    "embedding",
    "encoder layer 1",
    "encoder layer 2",
    "bridge",
    "decoder layer 1",
    "decoder layer 2",
    "final norm",
)
DEEP = ("embedding", *(f"layer {layer}" for layer in range(1, 27)), "final norm")
HOSTILE = "<i>plug-in/../x</i> $x_{1}$"


def runs_of(study: StoredStudy, arms: slice = slice(2, None)) -> Iterator[dict[str, Any]]:
    """Yield what tells the trials of some arms apart."""
    for arm in study.arms[arms]:
        for seed, trial in arm.trials.items():
            yield {"arm": arm.name, "seed": seed, "trial": trial}


def layer_gradients_of(
    study: StoredStudy,
    layers: Sequence[str] = SMALL,
    steps: Sequence[int] = tuple(range(0, 601, 100)),
    objective: str = "future_context",
    arms: slice = slice(2, None),
) -> pd.DataFrame:
    """An objective that reaches the first half of the layers, less with every step and layer, and turns against."""
    noise = np.random.default_rng(4)
    rows = []
    for run in runs_of(study, arms):
        for step in steps:
            for depth, layer in enumerate((*layers, WHOLE)):
                reached = layer == WHOLE or 2 * depth <= len(layers)
                norm = 2 * np.exp(-step / 300) / (1 + depth) if reached else 0.0
                cosine = 0.6 * np.cos(step / 200 + depth / 4) + noise.normal(0, 0.01)
                rows.append(
                    {
                        **run, "step": step, "tokens": 512 * step, "objective": objective, "coefficient": 1.0,
                        "layer": layer, "depth": float("nan") if layer == WHOLE else float(depth), "norm": norm,
                        "next_token_norm": 1.0, "share": norm / (1 + norm),
                        "cosine": cosine if reached else float("nan"),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def gradient_evidence_of(study: StoredStudy, layers: Sequence[str] = SMALL, **changes: Any) -> dict[str, pd.DataFrame]:
    """The same, before and after training, as the probe finds it."""
    rows = layer_gradients_of(study, layers, (0, 600), **changes)
    found = rows.assign(weights=rows["step"].map({0: "untrained", 600: "trained"}), cosine_of_means=rows["cosine"] / 2)
    return {"gradients": found.drop(columns=["step", "tokens"])}


def drafting_of(
    study: StoredStudy,
    objectives: Sequence[str] = ("multi_token",),
    guesses: int = 3,
    arms: slice = slice(1, None),
) -> dict[str, pd.DataFrame]:
    """Guesses of which the first is right by 0.5, and by 0.1 more with each arm; those after it by 0.8 if it was."""
    noise = np.random.default_rng(6)
    rows, parts = [], []
    names = [arm.name for arm in study.arms]
    for run in runs_of(study, arms):
        for place, objective in enumerate(objectives):
            first = 0.5 + 0.1 * names.index(run["arm"]) - 0.07 * place + noise.normal(0, 0.01)
            shares = [first * 0.8**later for later in range(guesses)]
            accepted = sum(shares)
            rows.append(
                {
                    **run, "objective": objective, "prompts": 32, "prompt_tokens": 32.0, "tokens": 2048,
                    "passes": int(2048 / (1 + accepted)), "tokens_per_pass": 1 + accepted,
                    "accepted_per_pass": accepted, "drafted": 3000, "accepted": int(1000 * accepted),
                    "acceptance": accepted / guesses if guesses else None, "distinct": 0.5,
                    "identical": 1.0, "ties": 0,
                }
            )  # fmt: skip
            for at, share in enumerate(shares, start=1):
                reached = 1000 if at == 1 else int(1000 * shares[at - 2])
                counted = {"drafted": 1000, "reached": reached, "accepted": int(1000 * share)}
                if_reached = share if at == 1 else 0.8
                parts.append({**run, "objective": objective, "guess": at, **counted, "acceptance": share,
                              "acceptance_if_reached": if_reached})  # fmt: skip
    return {"drafting": pd.DataFrame(rows), "guesses": pd.DataFrame(parts)}


def board_of(
    study: StoredStudy, n: int = 3, shape: tuple[int, int] = (3, 3), arms: slice = slice(1, None)
) -> dict[str, pd.DataFrame]:
    """Controls of 0.5, 0.6, and 0.7 (untrained), each 0.02 less a move ahead; the probe of the arm at place i is above.

    It reads 0.05·i more than the best of them now, a little more at deeper places; the present board tells 0.9 of the
    next one, 0.1 less of each later one. The first cell never changes.
    """
    noise = np.random.default_rng(8)
    places = ("layer 1", "encoder", "bridge", "layer 2", "decoder")
    states, controls, cells, examples = [], [], [], []
    names = [arm.name for arm in study.arms]
    for run in runs_of(study, arms):
        for ahead in range(n + 1):
            levels: dict[str, float | None] = {
                "majority": 0.5 - 0.02 * ahead, "ply": 0.6 - 0.02 * ahead,
                "unchanged": 0.99 - 0.1 * ahead if ahead else None, "present": 1.0 - 0.1 * ahead if ahead else None,
                "untrained": 0.7 - 0.02 * ahead,
            }  # fmt: skip
            changed = 0.2 if ahead else None
            for name, level in levels.items():
                for place in places if name == "untrained" else [None]:
                    if level is not None:
                        row = {"ahead": ahead, "accuracy": level, "accuracy_changed": changed}
                        controls.append({**run, "control": name, "place": place, **row})
            for depth, place in enumerate(places):
                found = 0.7 - 0.02 * ahead + 0.05 * names.index(run["arm"]) / (1 + ahead) + 0.005 * depth
                found += noise.normal(0, 0.004)
                above = {f"above_{name}": None if level is None else found - level for name, level in levels.items()}
                gain = found - 0.7 + 0.02 * ahead
                states.append({**run, "place": place, "ahead": ahead, "positions": 900 - 90 * ahead, "cells": 8,
                               "accuracy": found, "accuracy_changed": changed, "gain": gain, **above})  # fmt: skip
                for cell in range(shape[0] * shape[1]):
                    at = dict(zip(("row", "column"), divmod(cell, shape[1]), strict=True))
                    accuracy = 1.0 if cell == 0 else found - 0.02 * (cell % 5)
                    cells.append({**run, "place": place, "ahead": ahead, **at, "counted": cell > 0,
                                  "accuracy": accuracy, "majority": 0.5})  # fmt: skip
        examples.append({**run, "train_positions": 1600, "train_games": 213, "select_positions": 400,
                         "select_games": 53, "test_positions": 680, "test_games": 88})  # fmt: skip
    found_tables = {"states": states, "controls": controls, "cells": cells, "examples": examples}
    return {name: pd.DataFrame(rows) for name, rows in found_tables.items()}


def of_probe(probe: str, study: StoredStudy, tables: dict[str, pd.DataFrame], place: int = 0) -> Figure | None:
    """Draw one figure of what a probe found."""
    return list(DRAWINGS[probe](tables, arm_styles(study)))[place][3]
