"""The finding in words: what was asked, with which means, and what may be said of each arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison, Pairs, controls, decimals, hypotheses
from reports.fairness import MORE_FLOPS, flops_used
from reports.frames import complete_trials, results
from reports.references import compared_with, not_compared, notes_on_tasks, reference_in_words, references
from reports.statistics import MOST_SEEDS, VERDICT_PAIRS, Verdict, t_interval
from reports.wording import counted, is_or_are, listed, named, sentence

MOST_NAMES = 4
COMPARED_BY = "validation loss (next-token cross-entropy without auxiliary terms, nats per token)"


@dataclass(frozen=True)
class Finding:
    """One line that counts the verdicts, and the sentences of the paragraph below it."""

    headline: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The paragraph."""
        return " ".join(self.sentences)


def find(study: StoredStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison]) -> Finding:
    """Say what the finished trials of a study show; never "better" or "worse" of fewer than five pairs."""
    trials = complete_trials(study, trials)
    if not (trials["status"] == "done").any():
        return nothing_finished(study, trials, comparisons, COMPARED_BY)
    asked = hypotheses(comparisons)
    groups: dict[Verdict, list[Comparison]] = {}
    for comparison in asked:
        groups.setdefault(comparison.verdict, []).append(comparison)
    context = _Context(study.equivalence_margin, decimals(comparisons.values()))
    said = [SENTENCES[kind](groups[kind], context) for kind in SENTENCES if kind in groups]
    sentences = (
        question(study),
        plan(study, trials, comparisons, COMPARED_BY),
        *notes_on_tasks(study),
        _references(study, trials),
        *said,
        *(control_sentence(control) for control in controls(comparisons)),
        _key(asked, groups),
        compute(study, trials),
    )
    return Finding(_headline(study, groups), tuple(text for text in sentences if text))


def nothing_finished(
    study: StoredStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison], compared_by: str
) -> Finding:
    """Say what was asked and planned, where no trial has finished."""
    said = (question(study), plan(study, trials, comparisons, compared_by), *notes_on_tasks(study))
    return Finding("There is no finding yet: no trial has finished.", said)


def _headline(study: StoredStudy, groups: Mapping[Verdict, Sequence[Comparison]]) -> str:
    total = sum(len(group) for group in groups.values())
    if not total:
        return nothing_compared(study)
    if list(groups) == [Verdict.NO_DATA]:
        reference = reference_in_words(study, f"the reference {named(study.reference)}")
        return f"There is no finding yet: no seed has finished in both an arm and {reference}."
    if total == 1:
        kind, (only,) = next(iter(groups.items()))
        return f"{named(only.arm)} {HEADLINES[kind].format(reference=named(only.pairs.reference))}."
    counts = [f"{len(groups[kind])} {COUNTS[kind]}" for kind in COUNTS if kind in groups]
    first, *rest = counts
    verb = is_or_are(int(first.split()[0]))
    head, _, tail = first.partition(" ")
    each = "" if len(references(study)) == 1 else ", each"
    reference = reference_in_words(study, named(study.reference))
    said = listed([f"{head} {verb} {tail}", *rest], most=len(counts))
    return f"Of {total} arms{each} compared with {reference}, {said}."


def nothing_compared(study: StoredStudy) -> str:
    """Say that there is no arm to compare with the reference."""
    also = " and its A/A control" if any(arm.control for arm in study.arms) else ""
    only = f"the reference {named(study.reference)}{also}"
    if not_compared(study):
        return f"Nothing is compared: every arm but {only} learned another task."
    return f"There is only {only}: nothing is compared."


HEADLINES = {
    Verdict.BETTER: "is better than {reference}",
    Verdict.WORSE: "is worse than {reference}",
    Verdict.EQUIVALENT: "is equivalent to {reference} within the margin",
    Verdict.UNDECIDED: "is neither better nor worse than {reference}, as far as these seeds can tell",
    Verdict.IDENTICAL: "gives the same losses as {reference}, bit by bit",
    Verdict.EXPLORATORY: "has too few pairs with {reference} for a verdict; the estimate is exploratory",
    Verdict.VALUES_ONLY: "has too few pairs with {reference} for more than its values",
    Verdict.NO_DATA: "has no pair with {reference} yet",
}
COUNTS = {
    Verdict.BETTER: "better",
    Verdict.WORSE: "worse",
    Verdict.EQUIVALENT: "equivalent within the margin",
    Verdict.UNDECIDED: "undecided",
    Verdict.IDENTICAL: "identical to it",
    Verdict.EXPLORATORY: "exploratory",
    Verdict.VALUES_ONLY: "shown by values only",
    Verdict.NO_DATA: "without a pair",
}


def question(study: StoredStudy) -> str:
    """Return what was asked."""
    return sentence(f"Asked: {study.title}") if study.title.strip() else sentence(f"Study {named(study.name)}")


def plan(study: StoredStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison], compared_by: str) -> str:
    """Return with how many arms, seeds and tokens it was asked, and what arms are compared by."""
    tokens = trials.loc[trials["status"] == "done", "tokens"].dropna()
    low, high = numbers.quantity(float(tokens.min())), numbers.quantity(float(tokens.max()))
    budget = f", and {low if low == high else f'{low} to {high}'} training tokens a trial" if len(tokens) else ""
    control = any(arm.control for arm in study.arms)
    others = sum(arm.name != study.reference and not arm.control for arm in study.arms)
    return (
        f"Planned: {counted(others, 'arm')}{' and an A/A control' if control else ''} beside the reference "
        f"{named(study.reference)}, "
        f"{counted(len(study.seeds), 'seed')} each{budget}; compared by {compared_by} over "
        f"{_pairing([c.pairs for c in comparisons.values()])}."
    )


def _pairing(every: Sequence[Pairs]) -> str:
    """Say what the two runs of a pair provably have in common."""
    if not all(pairs.proven for pairs in every):
        return "the two runs of one seed"
    known = [start for pairs in every for start in pairs.known_starts]
    whole = len(known) == sum(pairs.count for pairs in every)
    start = ""
    if whole and known and all(one.shared for one in known):
        start = "started from equal shared weights and "
    elif whole and any(one.shared for one in known):
        start = "started from equal weights where their arms share any, and "
    return f"pairs of one seed that {start}saw the same batches in the same order"


def _references(study: StoredStudy, trials: pd.DataFrame) -> str:
    """Say what each reference reached."""
    reached = []
    several = len(references(study)) > 1
    for reference in references(study):
        losses = results(trials, reference)
        if losses.empty:
            continue
        low, high = t_interval(losses) if len(losses) > 2 else (float("nan"), float("nan"))
        value = numbers.with_half_width(float(losses.mean()), (high - low) / 2)
        whose = f"{named(reference)}, " if several else ""
        reached.append(f"{value} ({whose}{counted(len(losses), 'seed')})")
    return f"The reference{'s' * several} reached {listed(reached, MOST_NAMES)}." if reached else ""


def compute(study: StoredStudy, trials: pd.DataFrame) -> str:
    """Name the arms that were given clearly more compute than their reference; nothing where there is none."""
    used = {arm.name: flops_used(study, trials, arm.name) for arm in study.arms}
    ratios = {arm: used[arm] / used[reference] for arm, reference in compared_with(study).items() if used[reference]}
    more = {arm: ratio for arm, ratio in ratios.items() if ratio > MORE_FLOPS}
    if not more:
        return ""
    ordered = sorted(more, key=lambda arm: -more[arm])
    names = listed([f"{named(arm)} {numbers.times(more[arm])}" for arm in ordered], MOST_NAMES)
    return (
        f"More than {MORE_FLOPS:g} times the reference's training FLOPs: {names}; the table of fairness also compares "
        "at equal FLOPs and at equal time."
    )


@dataclass(frozen=True)
class _Context:
    """What the sentences of all groups share: the margin of equivalence and the decimals of differences."""

    margin: float
    decimals: int


def _better(group: Sequence[Comparison], context: _Context) -> str:
    return f"{_names(group, context)} {is_or_are(len(group))} better than the reference."


def _worse(group: Sequence[Comparison], context: _Context) -> str:
    return f"{_names(group, context)} {is_or_are(len(group))} worse than the reference."


def _equivalent(group: Sequence[Comparison], context: _Context) -> str:
    margin = numbers.significant(context.margin)
    return (
        f"{_names(group, context)} {is_or_are(len(group))} equivalent to the reference within ±{margin} nats per token."
    )


def _undecided(group: Sequence[Comparison], context: _Context) -> str:
    effects = [numbers.significant(comparison.smallest_detectable, 2) for comparison in group]
    low, high = min(effects, key=float), max(effects, key=float)
    detectable = low if low == high else f"{low} to {high}, by arm,"
    return (
        f"{_names(group, context)} {is_or_are(len(group))} undecided: a difference of {detectable} would have been "
        f"found with 80 % power, and {_seeds_needed(group)} would decide if the estimates hold."
    )


def _seeds_needed(group: Sequence[Comparison]) -> str:
    needed = [comparison.seeds_to_decide for comparison in group]
    known = [seeds for seeds in needed if seeds is not None]
    beyond = f"more than {MOST_SEEDS:,} seeds"
    if not known:
        return beyond
    low, high = min(known), max(known)
    if len(known) < len(needed):
        return f"{low} to {beyond}"
    return f"about {low} seeds" if low == high else f"{low} to {high} seeds"


def _identical(group: Sequence[Comparison], _: _Context) -> str:
    same_runs = [c for c in group if c.pairs.same_run]
    idle = [c for c in group if not c.pairs.same_run]
    texts = []
    if same_runs:
        names = listed([named(c.arm) for c in same_runs], MOST_NAMES)
        texts.append(f"{names} {'means' if len(same_runs) == 1 else 'mean'} the same runs as the reference.")
    if idle:
        names = listed([named(c.arm) for c in idle], MOST_NAMES)
        texts.append(
            f"{names} {'is' if len(idle) == 1 else 'are'} identical to the reference: losses are bit-equal in every "
            "pair, so the knob does nothing."
        )
    return " ".join(texts)


def _exploratory(group: Sequence[Comparison], context: _Context) -> str:
    return (
        f"{_ends(group, context)} {is_or_are(len(group))} exploratory: with 3 or 4 pairs there is an estimate and "
        "an interval, and no verdict."
    )


def _values_only(group: Sequence[Comparison], context: _Context) -> str:
    return (
        f"{_ends(group, context)} {'has' if len(group) == 1 else 'have'} too few independent pairs for an interval: "
        "the values are shown, and nothing follows from them."
    )


def _no_data(group: Sequence[Comparison], _: _Context) -> str:
    names = listed([named(c.arm) for c in group], MOST_NAMES)
    return f"{names} {'has' if len(group) == 1 else 'have'} no seed that has finished on both sides."


SENTENCES: dict[Verdict, Callable[[Sequence[Comparison], _Context], str]] = {
    Verdict.BETTER: _better,
    Verdict.WORSE: _worse,
    Verdict.EQUIVALENT: _equivalent,
    Verdict.UNDECIDED: _undecided,
    Verdict.IDENTICAL: _identical,
    Verdict.EXPLORATORY: _exploratory,
    Verdict.VALUES_ONLY: _values_only,
    Verdict.NO_DATA: _no_data,
}


def control_sentence(control: Comparison) -> str:
    """Say whether the comparison finds nothing where there is nothing."""
    name, pairs = f"The A/A control {named(control.arm)}", control.pairs
    if not pairs.count:
        return f"{name} has no seed that has finished on both sides."
    if pairs.same_run:
        return f"{name} means the same runs as the reference, and so checks nothing."
    if pairs.bit_equal:
        return f"{name} is bit-equal to the reference, as it should be."
    text = numbers.difference(control.mean, control.low, control.high)
    if pairs.count < VERDICT_PAIRS:
        return f"{name} ({text}) is not bit-equal to the reference, and has too few pairs for a test."
    said = "differs from the reference, as it should not" if control.significant else "shows no difference"
    return f"{name} ({text}, {numbers.equation('p', control.p)}) {said}."


def _names(group: Sequence[Comparison], context: _Context) -> str:
    """Return the arms of a group with their numbers, the largest difference first, and the rest as a count."""
    ordered = sorted(group, key=lambda comparison: -abs(comparison.mean))
    return listed([f"{named(comparison.arm)} ({_numbers(comparison, context)})" for comparison in ordered], MOST_NAMES)


def _ends(group: Sequence[Comparison], context: _Context) -> str:
    """Return the arms of a group without verdicts: all of them, or where there are many, the lowest and the highest."""
    if len(group) <= MOST_NAMES:
        return _names(group, context)
    ordered = sorted(group, key=lambda comparison: comparison.mean)
    low, high = (f"{named(end.arm)} ({_numbers(end, context)})" for end in (ordered[0], ordered[-1]))
    below = sum(comparison.mean < 0 for comparison in group)
    return f"{len(group)} arms, {below} of them below the reference, from {low} to {high},"


def _numbers(comparison: Comparison, context: _Context) -> str:
    text = numbers.difference(comparison.mean, comparison.low, comparison.high, context.decimals)
    if comparison.verdict is Verdict.EQUIVALENT:
        return f"{text}, {numbers.equation('p', comparison.p_equivalence_adjusted)}"
    if comparison.pairs.count >= VERDICT_PAIRS and comparison.verdict is not Verdict.VALUES_ONLY:
        return f"{text}, {numbers.equation('p', comparison.p_adjusted)}"
    return f"{text}, {counted(comparison.pairs.count, 'pair')}"


def _key(comparisons: Sequence[Comparison], groups: Mapping[Verdict, Sequence[Comparison]]) -> str:
    if not any(comparison.low == comparison.low for comparison in comparisons):
        return ""
    word = "paired difference" if all(c.pairs.proven for c in comparisons) else "difference by seed"
    tested = [kind for kind in (Verdict.BETTER, Verdict.WORSE, Verdict.UNDECIDED, Verdict.EQUIVALENT) if kind in groups]
    p = ""
    if tested:
        kinds = ["t test"] if tested != [Verdict.EQUIVALENT] else []
        kinds += ["two one-sided tests for equivalence"] if Verdict.EQUIVALENT in tested else []
        family = comparisons[0].family
        over = f", adjusted by Holm over {family} comparisons" if family > 1 else ""
        p = f", and p ({'; '.join(kinds)}{over})"
    return f"In parentheses: the mean {word} to the reference with its 95 % t interval{p}."
