"""From a study to trials: every arm resolved, checked, counted, and named by what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ablations.assembling import Assembly, Trial, first_predicted
from ablations.design import cells, factors_of, reference_name
from ablations.resolving import Resolver, SecondsPerToken, check_run
from ablations.selecting import selected
from ablations.stored import StoredStudy
from ablations.study import Study
from ablations.tuning import Outcome, check_untouched, grid
from deepsight.config import RunConfig, run_config
from deepsight.counting import Cost
from deepsight.errors import UserError, suggestion
from deepsight.merging import Data
from deepsight.presets import expanded

__all__ = ["Outcome", "Plan", "Trial", "plan_study"]

MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Plan:
    """A study ready to run.

    Attributes:
        study: what is stored of it.
        trials: distinct, in running order: those for tuning arm by arm, then those that are compared seed by seed.
        costs: of each arm.
        waiting: the arms whose tuned values are not known yet.
        to_come: how many trials follow once they are.

    """

    study: StoredStudy
    trials: list[Trial]
    costs: dict[str, Cost]
    waiting: frozenset[str] = frozenset()
    to_come: int = 0

    @property
    def tuning_pending(self) -> bool:
        """Whether an arm still waits for its tuned values: plan again when its trials have ended."""
        return bool(self.waiting)

    @property
    def is_complete(self) -> bool:
        """Whether every trial of the study is planned."""
        return not self.tuning_pending


def all_pending(trial: str) -> Outcome:
    """Say that no trial has ended."""
    return "pending"


def measured_seconds(config: RunConfig) -> float:
    """Measure the seconds that a token of a run's training takes on this machine."""
    from ablations.estimate import seconds_per_token

    return seconds_per_token(config)


def plan_study(
    study: Study,
    file: Path,
    command: str,
    outcomes: Callable[[str], Outcome] = all_pending,
    seconds_per_token: SecondsPerToken = measured_seconds,
) -> Plan:
    """Resolve every arm and seed of a study.

    Trials are ordered seed by seed, so that a study stopped early has whole seeds. Arms that mean the same run
    share it.

    A study that tunes is planned more than once. An arm has no trials while one that its tuned values are chosen from
    is pending; no arm waits for another.

    Args:
        study: as written.
        file: it was read from, for messages.
        command: how to repeat it.
        outcomes: trial id → its validation loss at the end, "pending" or "failed".
        seconds_per_token: measures the training of a run, for budgets of equal time.

    Raises:
        UserError: naming the file and the key of the first thing that does not fit.

    """
    try:
        return _planned(study, command, outcomes, seconds_per_token)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _planned(study: Study, command: str, outcomes: Callable[[str], Outcome], seconds: SecondsPerToken) -> Plan:
    found = cells(study)
    reference = reference_name(study, found)
    points = grid(study.tune)
    check_untouched(study, found)
    count = len(found) * (len(study.seeds) + len(points) * len(study.seeds_of_tuning))
    if count > MOST_TRIALS:
        raise UserError(f"a study of {count:,} trials is too large; the most are {MOST_TRIALS:,}")
    base_data, base = _base(study)
    resolver = Resolver(base_data, next(cell for cell in found if cell.name == reference), seconds)
    chosen, skipped = selected(study, found, resolver)
    tried = {
        cell.name: [resolver.resolve(cell, point) for point in points]
        for cell, _ in sorted(chosen, key=lambda pair: pair[0].name != reference)
    }
    runs = [*(run for _, run in chosen), *(run for one in tried.values() for run in one)]
    assembly = Assembly(study, max(first_predicted(run.config) for run in runs), outcomes)
    for cell, run in chosen:
        assembly.add(cell, run, tried[cell.name])
    if study.control:
        assembly.add_control(reference)
    _check_published(study, [arm.name for arm in assembly.arms])
    stored = StoredStudy(
        name=study.name,
        title=study.title or study.name,
        reference=reference,
        design=study.design,
        seeds=study.seeds,
        equivalence_margin=study.equivalence_margin,
        factors=factors_of(study),
        arms=assembly.arms,
        skipped=skipped,
        base=base.complete(),
        command=command,
        published=study.published,
    )
    order = {seed: position for position, seed in enumerate(study.seeds)}
    compared = sorted(assembly.compared.values(), key=lambda trial: order[trial.config.seed])
    return Plan(
        stored, [*assembly.tuning.values(), *compared], assembly.costs, frozenset(assembly.waiting), assembly.to_come
    )


def _check_published(study: Study, arms: list[str]) -> None:
    """Refuse published numbers of an arm that the study does not have; those of factors are known only now."""
    for name in study.published.runs if study.published else {}:
        if name not in arms:
            raise UserError(f"there is no arm {name!r}{suggestion(name, arms)}", ("published", "runs"))


def _base(study: Study) -> tuple[Data, RunConfig]:
    try:
        data = expanded(study.base)
        config = run_config(data)
        check_run(config)
        return data, config
    except UserError as error:
        raise error.within("base") from None
