"""`deepsight ablate`: plan a study, run what is missing, report; and whatever else is asked of a study."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import STUDIES, Plugins, load_plugins, parsed_settings, quoted_command

FAILURES, CLUSTER, QUESTIONS = "Failures", "Cluster", "Questions about a study, instead of running it"


class Retry(StrEnum):
    """Which failed trials run again."""

    FAILED = "failed"
    OOM = "oom"
    ALL = "all"


class Where(StrEnum):
    """What runs the trials."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


def ablate(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help=f"A study's YAML file, or a built-in study: {STUDIES}.")
    ] = "demo",
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Run the study at the scale of this preset, such as small or tiny, instead of its own; the report and "
            "the folder are called after both.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; runs/NAME when not given.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at a time; when not given, as many as fit this machine's cores and memory."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; run and write nothing.")] = False,
    plugin: Plugins = None,
    retry: Annotated[
        Retry | None,
        typer.Option(
            help="Run failed trials again: failed (all but diverged ones), oom (out of memory), or all.",
            rich_help_panel=FAILURES,
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            help="How often a trial that was lost, stalled or ran out of memory is run again by itself.",
            rich_help_panel=FAILURES,
        ),
    ] = 2,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop the study at the first failed trial.", rich_help_panel=FAILURES)
    ] = False,
    stop_after: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Stop the study after K trials in a row have failed in one way; 0 for never.",
            rich_help_panel=FAILURES,
        ),
    ] = 5,
    stall_limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="A trial without a training step or a batch of an evaluation for so long is ended as stalled.",
            rich_help_panel=FAILURES,
        ),
    ] = 1800.0,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=1, help="A trial that takes longer is ended as timed out.", rich_help_panel=FAILURES
        ),
    ] = None,
    executor: Annotated[
        Where,
        typer.Option(help="What runs the trials; ray and slurm need the extra of that name.", rich_help_panel=CLUSTER),
    ] = Where.LOCAL,
    executor_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="For the executor, such as gpus_per_trial=0.25 or partition=gpu; may be repeated.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
    plan: Annotated[
        float | None,
        typer.Option(
            metavar="DIFFERENCE",
            help="From the trials that are done: how many seeds and hours would show a difference of so many nats.",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    verify: Annotated[
        int | None,
        typer.Option(
            metavar="K", min=1, help="Run K finished trials again and compare digests.", rich_help_panel=QUESTIONS
        ),
    ] = None,
    status: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Say how the study in DIR stands, from its files alone; from any machine that sees them.",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="With --status: until the study is over.", rich_help_panel=QUESTIONS)
    ] = False,
    gc: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="List what the study in DIR no longer needs; --yes removes it.",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --gc: really.", rich_help_panel=QUESTIONS)] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Pack the study in DIR into one archive for another machine; --out names the file.",
            rich_help_panel=QUESTIONS,
        ),
    ] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="With --export: also the weights.", rich_help_panel=QUESTIONS)
    ] = False,
) -> None:
    """Run a study's trials, those that have no result yet, and build its page.

    Every trial has its own process, with one thread. After a stop or a kill, the same command goes on. What failed
    stays failed until --retry.
    """
    from rich.console import Console

    from deepsight.cli import study_folder

    console = Console()
    if status is not None:
        return study_folder.show_status(status, console, watch=watch)
    if gc is not None:
        return study_folder.remove_waste(gc, console, really=yes)
    if export is not None:
        return study_folder.export_study(export, out, console, checkpoints=checkpoints)

    plugins = load_plugins(plugin)
    from ablations.driver import Driver, Job
    from ablations.study_files import read_study, study_file
    from ablations.supervisor import warm_up
    from ablations.trial_process import Limits
    from ablations.trial_queue import Rules
    from deepsight.cli import study_run

    file = study_file(study)
    folder = out or Path("runs") / read_study(file, preset).name.replace(" ", "-")
    extra = [word for path in plugins for word in ("--plugin", str(path))]
    scale = ["--preset", preset] if preset else []
    command = quoted_command("deepsight", "ablate", study, *scale, "--out", str(folder), *extra)
    driver = Driver(Job(file, folder, tuple(path.resolve() for path in plugins), command, preset))
    if plan is not None:
        return study_run.show_seeds_needed(driver, plan, workers, console)
    warm_up()
    if verify is not None:
        return study_folder.verify(driver, driver.plan(), verify, console)
    rules = Rules(
        retries=retries, fail_fast=fail_fast, same_failures=stop_after, limits=Limits(stall_limit, time_limit)
    )
    options = parsed_settings(executor_option, "--executor-option")
    request = study_run.Request(workers, rules, retry, executor, options, dry_run)
    return study_run.run_study(driver, request, console)
