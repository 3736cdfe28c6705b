"""What a reader must know of an objective that stopped teaching, or never did, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

import numpy as np
import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.collapse import State, Symptom, first_and_last, quantity, symptoms
from reports.frames import complete_curves
from reports.wording import counted, listed, named

MOST_ARMS_IN_FULL = 3

SAYINGS = {
    State.COLLAPSED: "collapsed",
    State.SHRINKING: "is shrinking",
    State.TRIVIAL: "has learned nothing that a constant answer does not say",
    State.IDLE: "hardly moves the network",
}
ENDINGS = {
    State.COLLAPSED: "Its loss falls this way without predicting anything, and little of it is left to learn from.",
    State.SHRINKING: "Part of the fall of its loss is shrinking, not learning.",
    State.TRIVIAL: "Such an objective teaches at most the mean of its targets.",
    State.IDLE: "By the end this arm trains almost without its objective.",
}
KINDS = {State.COLLAPSED: "collapse", State.SHRINKING: "collapse", State.TRIVIAL: "objective", State.IDLE: "objective"}


def objective_warnings(study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (kind of warning, text) for every state of an objective, the gravest first; many arms share a sentence."""
    curves = complete_curves(study, curves)
    found: dict[tuple[State, str], dict[str, list[Symptom]]] = {}
    for symptom in symptoms(study, trials, curves):
        found.setdefault((symptom.state, symptom.objective), {}).setdefault(symptom.arm, []).append(symptom)
    for state, objective in sorted(found, key=lambda key: list(State).index(key[0])):
        by_arm = found[state, objective]
        if state is State.SHRINKING:  # an arm that has collapsed needs no second sentence
            collapsed = found.get((State.COLLAPSED, objective), {})
            by_arm = {arm: parts for arm, parts in by_arm.items() if arm not in collapsed}
        for text in _texts(state, objective, by_arm, curves):
            yield KINDS[state], f"{text}. {ENDINGS[state]}"


def _texts(state: State, objective: str, by_arm: Mapping[str, list[Symptom]], curves: pd.DataFrame) -> Iterator[str]:
    said = f"the objective {objective} {SAYINGS[state]}"
    if len(by_arm) > MOST_ARMS_IN_FULL:
        together = [symptom for parts in by_arm.values() for symptom in parts]
        where = f"In {listed([named(arm) for arm in by_arm])} ({counted(len(by_arm), 'arm')})"
        yield f"{where} {said}: {'; '.join(_parts(together, len(by_arm)))}"
        return
    for arm, parts in by_arm.items():
        loss = _loss_fall(curves, arm, objective) if KINDS[state] == "collapse" else ""
        share = f"in {parts[0].trials} of {counted(parts[0].of, 'trial')}"
        yield f"In {named(arm)} {said} {share}: {'; '.join(_parts(parts, 1))}{loss}"


def _parts(symptoms: list[Symptom], arms: int) -> list[str]:
    """Return one phrase a diagnostic, with the range of its values over the arms that show it."""
    texts = []
    for metric in dict.fromkeys(symptom.metric for symptom in symptoms):
        own = [symptom for symptom in symptoms if symptom.metric == metric]
        share = "" if len(own) == arms else f" in {counted(len(own), 'arm')}"
        texts.append(f"{_phrase(metric, own)}{share}")
    return texts


def _phrase(metric: str, symptoms: list[Symptom]) -> str:
    side, name = quantity(metric)
    starts, ends = [symptom.start for symptom in symptoms], [symptom.end for symptom in symptoms]
    whose = f"the {side}" if side else "its vectors"
    match name:
        case "loss over trivial":
            start, end = _range(starts, 3), _range(ends, 3)
            return f"its loss is {end} times that of a constant answer ({start} times at the start)"
        case "gradient share":
            return f"its share of the gradient was {_range(starts)} at the start and {_range(ends)} at the end"
        case "mean cosine":
            change = "rose" if median(ends) > median(starts) else "went"
            return (
                f"the mean cosine of {whose} {change} from {_range(starts)} to {_range(ends, 3)}, so that all its "
                "vectors point about the same way"
            )
        case "gain" if side:
            return f"the mean |gain| of the {side}'s norm fell from {_range(starts)} to {_range(ends)}"
        case _:
            of = f"the {name} of {whose}" if side else f"its {name}"
            return f"{of} fell from {_range(starts)} to {_range(ends)}"


def _range(values: list[float], digits: int = 2) -> str:
    low, high = numbers.significant(min(values), digits), numbers.significant(max(values), digits)
    return low if low == high else f"between {low} and {high}"


def _loss_fall(curves: pd.DataFrame, arm: str, objective: str) -> str:
    column = f"{objective}/loss"
    if column not in curves:
        return ""
    ends = first_and_last(curves[curves["arm"] == arm], [column])[column].median()
    if not np.isfinite(ends[["first", "last"]].to_numpy(dtype=float)).all():
        return ""
    return f"; its loss went from {numbers.significant(ends['first'], 2)} to {numbers.significant(ends['last'], 2)}"
