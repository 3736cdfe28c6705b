"""Studies of planning tasks over factors that never ran, shaped as the built-in ones are, with known accuracies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ablations.stored import StoredStudy
from tests.reports import synthetic

Frames = tuple[StoredStudy, pd.DataFrame, pd.DataFrame]
WINDOWS = 500
DELAYS = [2, 4, 8, 12]


def of_groups(
    groups: Mapping[Any, tuple[Mapping[str, Any], Mapping[str, list[Any]]]],
    reference: str,
    accuracy: Callable[[dict[str, Any], int], float],
    chance: Callable[[dict[str, Any]], float],
    *,
    seeds: int = 3,
    task: str = "full_path",
    alone: Mapping[str, Mapping[str, Any]] | None = None,
) -> Frames:
    """A study whose groups (name → base, factors) are grids, beside arms that stand alone.

    An arm is called `group: value, value`; a trial ends at accuracy(settings, seed), where chance(settings) is told.
    """
    arms: dict[str, dict[str, Any]] = {name: dict(settings) for name, settings in (alone or {}).items()}
    group_of: dict[str, str | None] = {}
    union: dict[str, list[Any]] = {}
    for group, (base, factors) in groups.items():
        for values in itertools.product(*factors.values()):
            name = ", ".join(map(str, values)) if group is None else f"{group}: {', '.join(map(str, values))}"
            arms[name] = {**base, **dict(zip(factors, values, strict=True))}
            group_of[name] = group
        for key, values in factors.items():
            union[key] = [*union.get(key, []), *(value for value in values if value not in union.get(key, []))]
    study = synthetic.study_of(arms, reference, seeds, factors=union)
    study = study.model_copy(
        update={
            "arms": [arm.model_copy(update={"group": group_of.get(arm.name)}) for arm in study.arms],
            "base": {**study.base, "evaluation": {"windows": WINDOWS}},
        }
    )
    trials = synthetic.trials_of(
        study, {name: synthetic.seed_losses(0.4, 0.002 * place, seeds) for place, name in enumerate(arms)}
    )
    curves = synthetic.curves_of(study, trials, steps=(0, 150, 300))
    ends = [accuracy(arms[row.arm], row.seed) if row.step == 300 else chance(arms[row.arm]) for row in rows(curves)]
    told = {f"task:{task}/accuracy": ends, f"task:{task}/chance": [chance(arms[row.arm]) for row in rows(curves)]}
    return study, synthetic.without_text(trials), synthetic.without_text(curves.assign(**told))


def rows(curves: pd.DataFrame) -> list[Any]:
    return list(curves.itertuples())


def noise(*parts: object, scale: float = 0.01) -> float:
    """A number that belongs to these parts."""
    return float(np.random.default_rng(int(synthetic.digest(*parts)[:8], 16)).normal(0, scale))


BAG_OF_WORDS = {"objective": {"name": "bag_of_words", "tau": 4}}
MULTI_TOKEN = {"objective": {"name": "multi_token", "n": 4, "head": "linear"}}
LEARNED = {"objective": {"name": "future_context", "n": 16, "aggregator": "learned_horizon"}}
PLACES: list[Any] = [{"layer": 1}, {"layer": 2}, "encoder", {"layer": 4}, {"layer": 5}, "decoder"]


def attachment(seeds: int = 3) -> Frames:
    """Two objectives at six places each, beside next-token prediction, as in the built-in study."""
    solved = {"bag_of_words": [0, 1, 3, 3, 2, 3], "multi_token": [0, 0, 1, 0, 2, 3]}

    def accuracy(settings: dict[str, Any], seed: int) -> float:
        if not settings:
            return 0.5 + noise("none", seed)
        place = PLACES.index(settings["objective.attach"])
        found = solved[settings["objective"]["name"]][place] > seed
        return (0.985 if found else 0.5) + noise(settings, seed)

    factors = {"objective.attach": PLACES}
    groups = {"bag of words": (BAG_OF_WORDS, factors), "multi-token": (MULTI_TOKEN, factors)}
    return of_groups(groups, "next token", accuracy, lambda _: 0.5, seeds=seeds, alone={"next token": {}})


def degree(seeds: int = 3) -> Frames:
    """Three groups over degree and length of path-star graphs; chance is one over the degree."""
    reach = {"none": 0, "bag_of_words": 8, "multi_token": 11}

    def accuracy(settings: dict[str, Any], seed: int) -> float:
        chance = 1 / settings["data.task.degree"]
        hard = settings["data.task.degree"] * settings["data.task.length"]
        found = hard <= reach[settings.get("objective", {}).get("name", "none")] + seed
        return (0.99 if found and reach_of(settings) else chance) + noise(settings, seed, scale=0.006)

    def reach_of(settings: dict[str, Any]) -> int:
        return reach[settings.get("objective", {}).get("name", "none")]

    factors: dict[str, list[Any]] = {"data.task.degree": [2, 3, 4], "data.task.length": [3, 4, 5]}
    groups = {
        "next token": ({}, factors), "bag of words": (BAG_OF_WORDS, factors), "multi-token": (MULTI_TOKEN, factors)
    }  # fmt: skip
    return of_groups(
        groups, "next token: 2, 3", accuracy, lambda settings: 1 / settings["data.task.degree"], seeds=seeds
    )


def recalled(settings: dict[str, Any], seed: int) -> float:
    """Recall of an arm over delays: as far as its horizon is from the delay, so much worse."""
    objective = settings.get("objective", {})
    delay = settings["data.task.delay"]
    horizon = settings.get("objective.n", objective.get("tau", delay if objective else 0))
    far = abs(np.log2(horizon / delay)) if horizon else 3 if delay > 2 else 1
    return float(np.clip(0.125 + 0.86 * max(0.0, 1 - far / 2.2) + noise(settings, seed, scale=0.03), 0, 1))


def horizons(seeds: int = 3) -> Frames:
    """A horizon and a delay crossed, beside next-token prediction and a learned horizon, as in the built-in study."""
    delays: dict[str, list[Any]] = {"data.task.delay": DELAYS}
    groups = {
        "next token": ({}, delays),
        "n ahead": ({"objective": {"name": "future_context"}}, {"objective.n": DELAYS, **delays}),
        "learned horizon": (LEARNED, delays),
    }
    return learning(of_groups(groups, "next token: 8", recalled, lambda _: 0.125, seeds=seeds, task="recall"))


def dial(seeds: int = 3) -> Frames:
    """Groups with a horizon each over the delay, of which one learns it."""
    delays: dict[str, list[Any]] = {"data.task.delay": DELAYS}
    ahead = {f"{n} ahead": ({"objective": {"name": "bag_of_words", "first": n, "tau": n}}, delays) for n in DELAYS}
    groups = {"next token": ({}, delays), **ahead, "learned horizon": (LEARNED, delays)}
    return learning(of_groups(groups, "next token: 8", recalled, lambda _: 0.125, seeds=seeds, task="recall"))


def learning(frames: Frames, kind: str = "horizon") -> Frames:
    """The study with what its group of a learned horizon reports: from even over 1 … 16 to a heap at the delay.

    All objectives report their loss over the trivial one: below 1 where they look no further than the delay.
    """
    study, trials, curves = frames
    learns = curves["arm"].str.startswith("learned horizon")
    delay = pd.to_numeric(curves["arm"].str.split(r"[:,] ", regex=True).str[-1], errors="coerce").fillna(1.0)
    far = curves["step"] / 300
    jitter = np.array([noise("learned", row.arm, row.seed, scale=0.03) for row in rows(curves)])
    numbers = np.arange(1, 17)
    heaps = np.exp(-0.5 * (numbers - delay.to_numpy()[:, None]) ** 2) + 0.1
    heaps /= heaps.sum(axis=1, keepdims=True)
    shares = 1 / 16 + (heaps - 1 / 16) * (far * (1 + jitter)).to_numpy()[:, None]
    found = {f"probability_{n}": pd.Series(shares[:, n - 1], curves.index).where(learns) for n in numbers}
    found[f"expected_{kind}"] = pd.Series(shares @ numbers, curves.index).where(learns)
    ahead = curves["arm"].str.extract(r"^n ahead: (\d+)")[0].astype(float)
    over = (0.6 + 0.7 * (ahead > delay) + jitter).where(ahead.notna() | learns)
    named = {f"future_context/aggregator_{name}": values for name, values in found.items()}
    return study, trials, curves.assign(**named, **{"future_context/loss_over_trivial": over})


def crossed_numbers(seeds: int = 1) -> Frames:
    """One design of three factors, two of them numbers that span far; no groups, one seed."""
    factors: dict[str, list[Any]] = {
        "objective.aggregator": ["average", "decay"],
        "objective.n": [1, 2, 4, 8, 16, 32],
        "data.task.delay": [1, 4, 16],
    }
    return of_groups({None: ({}, factors)}, "average, 1, 1", recalled, lambda _: 0.125, seeds=seeds, task="recall")
