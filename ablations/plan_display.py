"""A plan as a person reads it before anything runs: arms, groups, what is left out, what was solved, what is tuned."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablations.plan import Plan
from ablations.stored import StoredArm, StoredStudy
from ablations.values import in_words
from deepsight.terminal import printable

COLUMNS = ("parameters", "training only", "training FLOPs per token", "trials")


def show_plan(plan: Plan, console: Console) -> None:
    """Print a study's arms with their sizes, the notes on them, the cells that are left out, and the tuning."""
    console.print(_arms(plan))
    for line in plan_lines(plan):
        console.print(printable(line), highlight=False, soft_wrap=True, markup=False)


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield a sentence for everything about a plan that its table of arms does not say."""
    study = plan.study
    yield from (f"{arm.name}: {note}" for arm in study.arms for note in arm.notes)
    yield from (f"{cell.name}: left out, {cell.reason}" for cell in study.skipped)
    yield from _tuning(plan)


def _arms(plan: Plan) -> Table:
    study = plan.study
    table = Table(title=escape(printable(study.title)), title_justify="left")
    table.add_column("arm")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    previous: str | None = None
    for arm in study.arms:
        if arm.group != previous:
            table.add_section()
            if arm.group is not None:
                table.add_row(f"[bold]{escape(printable(arm.group))}[/]")
        previous = arm.group
        table.add_row(
            escape(printable(_named(study, arm))),
            f"{arm.inference_parameters:,}",
            f"{arm.training_parameters:,}",
            f"{arm.flops_per_token:,}",
            f"{len(study.seeds)}, once tuned" if arm.name in plan.waiting else str(len(arm.trials)),
        )
    return table


def _named(study: StoredStudy, arm: StoredArm) -> str:
    return f"{arm.name} (reference)" if arm.name == study.reference else arm.name


def _tuning(plan: Plan) -> Iterator[str]:
    """Yield what is tuned, what was chosen so far, and how many trials that takes."""
    tuned = [arm for arm in plan.study.arms if arm.candidates]
    if not tuned:
        return
    candidates = tuned[0].candidates
    values: dict[str, list[str]] = {}
    for candidate in candidates:
        for key, value in candidate.settings.items():
            known = values.setdefault(key, [])
            known += [said for said in [in_words(value, str)] if said not in known]
    grid = "; ".join(f"{key} in {', '.join(said)}" for key, said in values.items())
    added = len({trial for arm in tuned for one in arm.candidates for trial in one.trials.values()})
    yield (
        f"Tuned in every arm: {grid}. {len(candidates)} candidates on {_seeds(list(candidates[0].trials))} add {added} "
        "trials; each arm takes the candidate with the lowest validation loss, and is compared on the other seeds."
    )
    for arm in tuned:
        for candidate in arm.candidates:
            if candidate.chosen:
                taken = ", ".join(f"{key} {in_words(value, str)}" for key, value in candidate.settings.items())
                yield f"{arm.name}: takes {taken}"
    if plan.to_come:
        yield f"{plan.to_come} trials follow once the values of their arms are known."


def _seeds(seeds: list[int]) -> str:
    named = ", ".join(map(str, seeds))
    return f"the seed {named}" if len(seeds) == 1 else f"the seeds {named}"
