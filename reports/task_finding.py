"""The finding of a study with a planning task: how many arms solve it, in how many seeds, and what that may mean."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.comparisons import Comparison, controls, hypotheses
from reports.finding import (
    MOST_NAMES,
    Finding,
    compute,
    control_sentence,
    find,
    nothing_compared,
    nothing_finished,
    plan,
    question,
)
from reports.frames import complete_trials
from reports.references import not_compared, notes_on_tasks, references
from reports.statistics import EXPLORATORY_PAIRS, LEVEL
from reports.success import Success, SuccessDifference, interval_text
from reports.task_results import SOLVED, task_title
from reports.task_study import TaskStudy, task_study
from reports.wording import counted, listed, named

FAR = 0.25
"""A share that is so much higher with the right answer so far shown is not a matter of a few answers."""
AT_LEAST = f"(≥ {100 * SOLVED:g} %)"


class Standing(enum.StrEnum):
    """What may be said of how many seeds solve the task, beside the reference."""

    MORE = "more, by the exact test"
    FEWER = "fewer, by the exact test"
    NOT_TOLD = "not told apart by the exact test"
    ABOVE = "more, intervals apart"
    BELOW = "fewer, intervals apart"
    OVERLAP = "intervals overlap"
    SAME_RUN = "the same runs"
    VALUES_ONLY = "values only"
    NO_PAIR = "no pair"


def tell(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, comparisons: Mapping[str, Comparison]
) -> Finding:
    """Say what a study shows: of its planning task where trials were measured at one, else of the validation loss."""
    found = task_study(study, trials, curves, comparisons)
    return find(study, trials, comparisons) if found is None else find_success(found, trials, comparisons)


def find_success(found: TaskStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison]) -> Finding:
    """Say what finished trials show of the task; no verdict on what so few seeds in two heaps cannot tell."""
    study, trials = found.study, complete_trials(found.study, trials)
    title = task_title(found.main)
    compared_by = f"{title} (the share that is right at the end of training; a seed solves it at {100 * SOLVED:g} %)"
    if not (trials["status"] == "done").any():
        return nothing_finished(study, trials, comparisons, compared_by)
    asked = [comparison.arm for comparison in hypotheses(comparisons)]
    groups: dict[Standing, list[str]] = {}
    for arm in asked:
        groups.setdefault(standing(found, arm, comparisons[arm]), []).append(arm)
    sentences = (
        question(study),
        plan(study, trials, comparisons, compared_by),
        *notes_on_tasks(study),
        _references(found),
        *(_said(kind, groups[kind], found) for kind in Standing if kind in groups),
        _copying(found),
        *(control_sentence(control) for control in controls(comparisons)),
        _key(found),
        compute(study, trials),
        "The verdicts in the main table are on the validation loss, here that of the answers' tokens.",
    )
    return Finding(_headline(found, asked), tuple(text for text in sentences if text))


def standing(found: TaskStudy, arm: str, comparison: Comparison) -> Standing:
    """Return what may be said of an arm: by the exact test where there are pairs for it, else by the intervals."""
    difference = found.differences[arm]
    success, reference = found.successes[arm], found.successes[difference.reference]
    if not difference.seeds:
        return Standing.NO_PAIR
    if comparison.pairs.same_run:
        return Standing.SAME_RUN
    if len(difference.seeds) < EXPLORATORY_PAIRS or comparison.pairs.seed_is_idle:
        return Standing.VALUES_ONLY
    if math.isfinite(difference.p_adjusted):
        return _tested(difference)
    (low, high), (reference_low, reference_high) = success.interval, reference.interval
    return Standing.ABOVE if low > reference_high else Standing.BELOW if high < reference_low else Standing.OVERLAP


def _tested(difference: SuccessDifference) -> Standing:
    if difference.p_adjusted > LEVEL:
        return Standing.NOT_TOLD
    return Standing.MORE if difference.arm_only > difference.reference_only else Standing.FEWER


def _headline(found: TaskStudy, asked: Sequence[str]) -> str:
    solve = f"solve {task_title(found.main)} {AT_LEAST}"
    solves = f"solves {solve.removeprefix('solve ')}"
    beside = [found.successes[name] for name in references(found.study)]
    known = [reference for reference in beside if reference.count]
    finished = [found.successes[arm] for arm in asked if found.successes[arm].count]
    if not finished and not known:
        return f"There is no finding yet: no finished trial was measured at {task_title(found.main)}."
    if not finished and len(beside) > 1:
        return f"Only references have finished seeds: {_counts(_heaps(known, len(beside)), solve, solves)}."
    if not finished:
        return _of_the_reference(found, beside[0], solves, asked=bool(asked))
    if not any(success.solved for success in [*finished, *known]):
        return f"No seed {solves}{f': {_means([*finished, *known])}' if len(beside) == 1 else ', whatever its task'}."
    if len(asked) == 1:
        own = _beside(found.successes[found.differences[asked[0]].reference])
        return f"{named(asked[0])} {solves} in {finished[0].solved} of {counted(finished[0].count, 'seed')}; {own}."
    counts = _counts(_heaps(finished, len(asked)), solve, solves)
    each = f"of their {len(beside)} references {listed(_heaps(known, len(beside)))}"
    return (
        f"Of {len(asked)} arms with {_seeds(finished)}, {counts}; {_beside(beside[0]) if len(beside) == 1 else each}."
    )


def _of_the_reference(found: TaskStudy, reference: Success, solves: str, *, asked: bool) -> str:
    """Say what the only reference reached where no arm that is compared with it has a finished seed."""
    it = f"it {solves} in {_of(reference)}"
    if asked:
        return f"Only the reference {named(reference.arm)} has finished seeds: {it}."
    if not_compared(found.study):
        return f"{nothing_compared(found.study)} The reference {solves} in {_of(reference)}."
    return f"There is only the reference {named(reference.arm)}: {it}."


def _beside(reference: Success) -> str:
    return (
        f"the reference {named(reference.arm)} {f'in {_of(reference)}' if reference.count else 'has no finished seed'}"
    )


def _of(success: Success) -> str:
    return f"{success.solved} of {success.count}"


def _seeds(finished: Sequence[Success]) -> str:
    least, most = min(success.count for success in finished), max(success.count for success in finished)
    return f"{counted(most, 'seed')} each" if least == most else f"{least} to {most} seeds"


def _heaps(finished: Sequence[Success], total: int) -> list[str]:
    """Return "2 in every seed", "3 in some seeds", "5 in no seed" and "1 without a finished one", without zeros."""
    kinds = {
        "in every seed": sum(success.solved == success.count for success in finished),
        "in some seeds": sum(0 < success.solved < success.count for success in finished),
        "in no seed": sum(not success.solved for success in finished),
        "without a finished one": total - len(finished),
    }
    return [f"{count} {kind}" for kind, count in kinds.items() if count]


def _counts(heaps: Sequence[str], solve: str, solves: str) -> str:
    """Return "2 solve … in every seed, 3 in some seeds and 5 in no seed"."""
    count, _, kind = heaps[0].partition(" ")
    return listed([f"{count} {solves if count == '1' else solve} {kind}", *heaps[1:]])


def _means(every: Sequence[Success]) -> str:
    """Return the lowest and the highest mean accuracy, and chance where it is one number."""
    low, high = (pick(every, key=lambda success: success.mean) for pick in (min, max))
    chances = {success.chance for success in every if math.isfinite(success.chance)}
    chance = f", and chance is {_percent(chances.pop())}" if len(chances) == 1 else ""
    if low is high:
        return f"the mean accuracy of {named(low.arm)} is {_percent(low.mean)}{chance}"
    return (
        f"mean accuracies lie between {_percent(low.mean)} ({named(low.arm)}) and {_percent(high.mean)} "
        f"({named(high.arm)}){chance}"
    )


def _references(found: TaskStudy) -> str:
    """Say in how many seeds each reference solves the task."""
    every = [found.successes[name] for name in references(found.study)]
    if len(every) > 1:
        told = [f"{named(one.arm)} in {_numbers(one, None)}" for one in every if one.count]
        more = f"; {len(told) - MOST_NAMES} more are in the table" if len(told) > MOST_NAMES else ""
        return f"How often the references solve it: {'; '.join(told[:MOST_NAMES])}{more}." if told else ""
    (reference,) = every
    if not reference.count:
        return "The reference has no finished seed."
    return f"The reference solves it in {_numbers(reference, None)}."


def _said(kind: Standing, arms: Sequence[str], found: TaskStudy) -> str:
    ordered = sorted(arms, key=lambda arm: (-found.successes[arm].solved, -found.successes[arm].mean))
    names = [f"{named(arm)} ({_numbers(found.successes[arm], found.differences[arm])})" for arm in ordered]
    if kind in (Standing.NO_PAIR, Standing.SAME_RUN):
        names = [named(arm) for arm in arms]
    one = len(arms) == 1
    return SENTENCES[kind].format(
        names=listed(names, MOST_NAMES),
        solve="solves" if one else "solve",
        have="has" if one else "have",
        mean="means" if one else "mean",
        are="is" if one else "are",
        pairs=counted(max(len(found.differences[arm].seeds) for arm in arms), "pair"),
    )


SENTENCES = {
    Standing.MORE: "{names} {solve} it in more seeds than the reference.",
    Standing.FEWER: "{names} {solve} it in fewer seeds than the reference.",
    Standing.NOT_TOLD: "{names} {are} not told from the reference by the exact test of up to {pairs}.",
    Standing.ABOVE: "{names} {solve} it in more seeds than the reference, and the intervals do not overlap; {pairs} "
    "are too few for a test.",
    Standing.BELOW: "{names} {solve} it in fewer seeds than the reference, and the intervals do not overlap; {pairs} "
    "are too few for a test.",
    Standing.OVERLAP: "{names} {are} not told from the reference by so few seeds: the intervals overlap.",
    Standing.SAME_RUN: "{names} {mean} the same runs as the reference.",
    Standing.VALUES_ONLY: "{names} {have} too few independent seeds for an interval: the counts are shown, and nothing "
    "follows from them.",
    Standing.NO_PAIR: "{names} {have} no seed that has finished on both sides.",
}


def _numbers(success: Success, difference: SuccessDifference | None) -> str:
    """Return "4 of 5 [38 %, 96 %], after 1,200 steps", with the accuracy where no seed solved the task, and p."""
    if success.solved:
        reached = f"after {numbers.whole(success.median_steps)} steps"
    else:
        chance = f", chance {_percent(success.chance)}" if math.isfinite(success.chance) and difference is None else ""
        reached = f"accuracy {numbers.with_half_width(100 * success.mean, 100 * success.half_width, 1)} %{chance}"
    p = f", {numbers.equation('p', difference.p_adjusted)}" if difference and math.isfinite(difference.p) else ""
    of = _of(success) if difference else f"{success.solved} of {counted(success.count, 'seed')}"
    return f"{of}{interval_text(success)}, {reached}{p}"


def _percent(share: float) -> str:
    return f"{numbers.fixed(100 * share, 1)} %"


def _copying(found: TaskStudy) -> str:
    """Name the arms that answer only where they are shown the answer, and in how many seeds; nothing without any."""
    if found.gap_task is None:
        return ""
    gaps = {arm.name: found.gaps(arm.name, found.gap_task) for arm in found.study.arms}
    copying = {arm: int((values >= FAR).sum()) for arm, values in gaps.items()}
    arms = sorted((arm for arm in copying if copying[arm]), key=lambda arm: -copying[arm])
    if not arms:
        return ""
    one = len(arms) == 1 and copying[arms[0]] == 1
    names = [f"{copying[arm]} of {counted(len(gaps[arm]), 'seed')} of {named(arm)}" for arm in arms]
    return (
        f"Far better where the right answer so far is shown {'is' if one else 'are'} {listed(names, MOST_NAMES)}: "
        f"{'it copies' if one else 'they copy'} from the answer instead of planning (Bachmann & Nagarajan, 2024)."
    )


def _key(found: TaskStudy) -> str:
    if not any(math.isfinite(success.interval[0]) for success in found.successes.values()):
        return ""
    over = f", adjusted by Holm over {found.family} comparisons" if found.family > 1 else ""
    p = f"; p is of the exact test of the pairs that one side alone solved{over}" if found.has_p else ""
    return f"In brackets: Wilson's 95 % interval of the share of seeds that solve it{p}."
