"""What a reader must know before the finding: everything that weakens it, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from ablations.stored import StoredStudy
from reports import numbers
from reports.accounts import tuning_trials
from reports.comparison_warnings import failed_control, failed_pairing, inexact_control
from reports.comparisons import Comparison, bit_equal_arms
from reports.frames import complete_curves, complete_trials, results, rows_of
from reports.objective_warnings import objective_warnings
from reports.references import arms_by_task, compared_with, references
from reports.statistics import EXPLORATORY_PAIRS, VERDICT_PAIRS, Verdict
from reports.task_results import measured_tasks
from reports.wording import counted, is_or_are, listed, named, sentence

SIZE_TOLERANCE = 0.05
"""Arms whose inference parameters differ by more than this share from the reference's are not of equal size."""


@dataclass(frozen=True)
class StudyWarning:
    """One warning.

    Attributes:
        kind: control, pairing, identical, collapse, objective, failed, truncated, unfinished, seeds, tuning, budget or
            size.
        text: its words.

    """

    kind: str
    text: str


def study_warnings(
    study: StoredStudy, trials: pd.DataFrame, curves: pd.DataFrame, comparisons: Mapping[str, Comparison]
) -> list[StudyWarning]:
    """Return all warnings of a study, the gravest first."""
    trials, curves = complete_trials(study, trials), complete_curves(study, curves)
    return [
        *(StudyWarning("control", text) for text in failed_control(comparisons)),
        *(StudyWarning("pairing", text) for text in failed_pairing(comparisons)),
        *_identical(study, trials),
        *_idle_seeds(comparisons),
        *(StudyWarning(kind, text) for kind, text in objective_warnings(study, trials, curves)),
        *_failures(study, trials),
        *_truncated(trials, curves),
        *_unfinished(study, trials),
        *(StudyWarning("control", text) for text in inexact_control(comparisons)),
        *_too_few_seeds(study, comparisons),
        *_different_tuning(study),
        *_different_budget(study, trials),
        *_different_size(study),
    ]


def _identical(study: StoredStudy, trials: pd.DataFrame) -> Iterator[StudyWarning]:
    for names in bit_equal_arms(study, trials):
        seeds = len(results(trials, names[0]))
        yield StudyWarning(
            "identical",
            f"{listed([named(name) for name in names])} have bit-equal validation losses in all "
            f"{counted(seeds, 'finished seed')}: the knob between them does nothing.",
        )


def _idle_seeds(comparisons: Mapping[str, Comparison]) -> Iterator[StudyWarning]:
    idle = [named(c.arm) for c in comparisons.values() if c.pairs.seed_is_idle]
    if idle:
        yield StudyWarning(
            "seeds",
            f"Every seed gave the same loss in {listed(idle)} and in the reference: the seed does not reach the run, "
            "and the pairs are one observation repeated.",
        )
    constant = [
        named(c.arm)
        for c in comparisons.values()
        if c.pairs.count > 1 and c.verdict not in (Verdict.IDENTICAL, Verdict.VALUES_ONLY) and c.deviation == 0
    ]
    if constant:
        yield StudyWarning(
            "seeds",
            f"The difference of {listed(constant)} to the reference is the same in every seed, to the last bit; the t "
            "test assumes that it varies.",
        )


def _failures(study: StoredStudy, trials: pd.DataFrame) -> Iterator[StudyWarning]:
    failed = trials[trials["status"] == "failed"]
    if failed.empty:
        return
    parts = []
    for arm, rows in failed.groupby("arm", sort=False):
        kinds = rows["failure"].fillna("failed").astype(str).value_counts(sort=False)
        counts = listed([f"{count} {kind}" for kind, count in kinds.items()])
        parts.append(f"{named(str(arm))} ({counts}; {_seeds(list(rows['seed']))})")
    # An arm without a reference beside it loses its pair all the same, so pairs are counted by seed of every arm.
    pairs = sum(
        1
        for arm, reference in compared_with(study).items()
        for seed in study.arm(arm).trials
        if _has_failed(failed, arm, seed) or _has_failed(failed, reference, seed)
    )
    distinct = failed["trial"].nunique()
    yield StudyWarning(
        "failed",
        f"{counted(distinct, 'trial')} of {trials['trial'].nunique()} failed: {listed(parts, most=6)}. "
        f"{counted(pairs, 'pair')} {'was' if pairs == 1 else 'were'} removed with {'it' if distinct == 1 else 'them'}; "
        "nothing is imputed.",
    )


def _has_failed(failed: pd.DataFrame, arm: str, seed: int) -> bool:
    return bool(((failed["arm"] == arm) & (failed["seed"] == seed)).any())


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds], most=8)}"


def _truncated(trials: pd.DataFrame, curves: pd.DataFrame) -> Iterator[StudyWarning]:
    """Warn of finished trials whose last evaluation is not the one that their result is from."""
    done = trials[(trials["status"] == "done") & trials["step"].notna()].drop_duplicates("trial")
    ends = curves.groupby("trial")["step"].max()
    last = done["trial"].map(ends.to_dict()).astype(float).fillna(0)
    short = done.assign(last=last)[last < done["step"]]
    if short.empty:
        return
    parts = [
        f"{named(str(row.arm))} seed {row.seed} (step {numbers.whole(row.last)} of {numbers.whole(row.step)})"
        for row in rows_of(short)
    ]
    tasks = " What they reached at the planning task is not known, and they are left out there."
    yield StudyWarning(
        "truncated",
        f"The metrics of {counted(len(short), 'finished trial')} end before the training did: {listed(parts)}. Their "
        "results are whole, and so are verdicts; curves, efficiency and differences at equal cost lack what is cut."
        f"{tasks if measured_tasks(curves) else ''}",
    )


def _unfinished(study: StoredStudy, trials: pd.DataFrame) -> Iterator[StudyWarning]:
    untuned = [named(arm.name) for arm in study.arms if not arm.trials]
    if untuned:
        yield StudyWarning(
            "unfinished",
            f"No trial of {listed(untuned)} is planned: the tuned values are not chosen, because tuning trials are "
            "missing or have failed.",
        )
    distinct = trials.drop_duplicates("trial")
    counts = distinct["status"].value_counts()
    running, pending = int(counts.get("running", 0)), int(counts.get("pending", 0))
    if not running + pending:
        return
    waiting = trials[trials["status"].isin(["running", "pending"])]
    arms = [named(str(arm)) for arm in dict.fromkeys(waiting["arm"])]
    parts = [f"{running} running" if running else "", f"{pending} not started" if pending else ""]
    yield StudyWarning(
        "unfinished",
        f"The study is not finished: {int(counts.get('done', 0))} of {counted(len(distinct), 'trial')} done, "
        f"{listed([part for part in parts if part])}. Missing are trials of {listed(arms)}. "
        "The same command runs what is missing; verdicts may still change.",
    )
    several = len(references(study)) > 1
    for reference in references(study):
        if not len(results(trials, reference)):
            yield StudyWarning(
                "unfinished",
                f"The reference {named(reference)} has no finished trial: nothing"
                f"{' of its task' if several else ''} can be compared yet.",
            )


def _too_few_seeds(study: StoredStudy, comparisons: Mapping[str, Comparison]) -> Iterator[StudyWarning]:
    if len(study.seeds) < VERDICT_PAIRS:
        given = "what follows is exploratory" if len(study.seeds) >= EXPLORATORY_PAIRS else "only values are shown"
        yield StudyWarning(
            "seeds",
            f"Planned with {counted(len(study.seeds), 'seed')}. No arm is called better or worse on fewer than "
            f"{VERDICT_PAIRS}: {given}.",
        )
        return
    short = [c.pairs for c in comparisons.values() if c.pairs.count < VERDICT_PAIRS]
    if short:
        parts = [f"{named(pairs.arm)} ({counted(pairs.count, 'pair')})" for pairs in short]
        yield StudyWarning(
            "seeds", f"Too few pairs for a verdict, which needs {VERDICT_PAIRS}: {listed(parts, most=6)}."
        )


def _different_tuning(study: StoredStudy) -> Iterator[StudyWarning]:
    for arms in arms_by_task(study):
        counts = {arm.name: tuning_trials(arm) for arm in arms if not arm.control}
        if len(set(counts.values())) > 1:
            low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            yield StudyWarning(
                "tuning",
                f"The arms were not tuned with equally many trials: {named(low)} with {counts[low]}, {named(high)} "
                f"with {counts[high]}; the ledger has all. An arm that was tuned more may look better for that alone.",
            )


def _different_budget(study: StoredStudy, trials: pd.DataFrame) -> Iterator[StudyWarning]:
    means = trials[trials["status"] == "done"].groupby("arm", sort=False)["tokens"].mean().dropna()
    every = {str(arm): float(count) for arm, count in means.items()}
    for arms in arms_by_task(study):
        tokens = {arm.name: every[arm.name] for arm in arms if arm.name in every}
        if len(set(tokens.values())) < 2:
            continue
        low, high = min(tokens, key=tokens.__getitem__), max(tokens, key=tokens.__getitem__)
        matched = {str(arm.settings["training.match"]): None for arm in arms if "training.match" in arm.settings}
        by_design = f" This is by design: budgets are matched by {listed(list(matched))}." if matched else ""
        yield StudyWarning(
            "budget",
            f"The arms were not trained on equally many tokens: {named(low)} on {numbers.quantity(tokens[low])}, "
            f"{named(high)} on {numbers.quantity(tokens[high])}.{by_design}",
        )


def _different_size(study: StoredStudy) -> Iterator[StudyWarning]:
    sizes = {arm.name: arm.inference_parameters for arm in study.arms}
    of = compared_with(study)
    for reference in references(study):
        size = sizes[reference]
        ratios = {arm: sizes[arm] / size - 1 for arm, other in of.items() if other == reference and size}
        others = [arm for arm, ratio in ratios.items() if abs(ratio) > SIZE_TOLERANCE]
        if others:
            parts = [f"{named(arm)} ({numbers.fixed(100 * ratios[arm], 1, sign=True)} %)" for arm in others]
            whose = "the reference's size" if len(references(study)) == 1 else f"the size of {named(reference)}"
            yield StudyWarning(
                "size",
                sentence(
                    f"Not of {whose} at inference (±{100 * SIZE_TOLERANCE:.0f} % or more of its "
                    f"{numbers.whole(size)} parameters) {is_or_are(len(others))} {listed(parts)}"
                ),
            )
