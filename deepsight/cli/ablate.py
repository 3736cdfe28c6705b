"""`deepsight ablate`: plan a study, run what is missing, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepsight.cli.common import STUDIES, Plugins, load_plugins, quoted_command

if TYPE_CHECKING:
    from rich.console import Console

    from ablations.plan import Plan


def ablate(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help=f"A study's YAML file, or a built-in study: {STUDIES}.",
        ),
    ] = "demo",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; runs/NAME when not given.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time; one a core when not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; run and write nothing.")] = False,
    plugin: Plugins = None,
) -> None:
    """Run a study's trials, those that have no result yet, and build its page.

    Every trial has its own process, with one thread. After a stop or a kill, the same command goes on.
    """
    plugins = load_plugins(plugin)
    from rich.console import Console

    from ablations.display import StudyDisplay
    from ablations.plan import plan_study
    from ablations.running import check_folder, finished_trials, prepare_study, run_trials
    from ablations.study import read_study, study_file
    from deepsight.cli.stopping import stop_on_signal
    from deepsight.data.packing import usable_cores
    from deepsight.errors import UserError

    console = Console()
    file = study_file(study)
    content = read_study(file)
    folder = out or Path("runs") / content.name.replace(" ", "-")
    count = workers or usable_cores()
    extra = [word for path in plugins for word in ("--plugin", str(path))]
    plan = plan_study(content, file, quoted_command("deepsight", "ablate", study, "--out", str(folder), *extra))
    check_folder(plan, folder)
    done = finished_trials(plan, folder)
    show_plan(plan, done, count, console)
    if dry_run:
        return
    for corpus in prepare_study(plan, file, folder):
        console.print(corpus.describe(), highlight=False, soft_wrap=True)
    with StudyDisplay(plan, done, console) as display, stop_on_signal() as stop:
        complete = run_trials(plan, folder, workers=count, plugins=plugins, watcher=display, stop=stop)
    if not complete:
        console.print("Stopped; each trial left a checkpoint, and the same command goes on.")
        raise typer.Exit(130)

    from reports.build import build

    console.print(f"The report is at {build(folder)}", soft_wrap=True)
    if display.failures:
        raise typer.Exit(1)
    if not finished_trials(plan, folder):
        raise UserError(f"{folder}: no trial finished")


def show_plan(plan: Plan, done: set[str], workers: int, console: Console) -> None:
    """Print a study's arms with their sizes, the number of trials, and the estimated time."""
    from rich.markup import escape
    from rich.table import Table

    from ablations.display import duration
    from ablations.estimate import estimated_seconds

    study = plan.study
    table = Table(title=escape(study.title), title_justify="left")
    table.add_column("arm")
    for heading in ("parameters", "training only", "training FLOPs per token", "seeds"):
        table.add_column(heading, justify="right")
    for arm in study.arms:
        name = f"{arm.name} (reference)" if arm.name == study.reference else arm.name
        table.add_row(
            escape(name),
            f"{arm.inference_parameters:,}",
            f"{arm.training_parameters:,}",
            f"{arm.flops_per_token:,}",
            str(len(arm.trials)),
        )
    console.print(table)
    for arm in study.arms:
        for note in arm.notes:
            console.print(f"{escape(arm.name)}: {escape(note)}", highlight=False, soft_wrap=True)
    for cell in study.skipped:
        console.print(f"{escape(cell.name)}: left out, {escape(cell.reason)}", highlight=False, soft_wrap=True)
    missing = len(plan.trials) - len(done)
    seconds = estimated_seconds(plan, min(workers, missing) or 1, done)
    finished = f", {len(done)} of them done" if done else ""
    size = f"{len(study.arms)} arms, {len(plan.trials)} trials{finished}"
    console.print(f"{size}; about {duration(seconds)} with {workers} workers.", highlight=False)
