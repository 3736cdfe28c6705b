"""Running a study from the command line: the plan shown, its trials run where they are to run, the page built."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ablations.display import StudyDisplay
    from ablations.driver import Driver, Executor
    from ablations.plan import Plan
    from ablations.trial_queue import Rules


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        workers: trials at a time; None for as many as fit.
        rules: for failures.
        retry: which failed trials run again: failed, oom or all; None for none.
        executor: local, ray or slurm.
        options: of the executor.
        dry_run: print the plan, and nothing else.

    """

    workers: int | None
    rules: Rules
    retry: str | None = None
    executor: str = "local"
    options: dict[str, Any] = field(default_factory=dict)
    dry_run: bool = False


def run_study(driver: Driver, request: Request, console: Console) -> None:
    """Plan, show, run and report; exits with 1 where a trial failed, and with 130 where it was asked to stop."""
    from ablations.changes import change_sentence
    from ablations.display import StudyDisplay
    from ablations.plan_display import show_plan
    from ablations.running import check_folder, finished_trials, free_space_sentence, retry, stored_study
    from deepsight.cli.stopping import stop_on_signal

    folder = driver.job.folder
    request = _with_checked_options(request)
    plan = driver.plan()
    check_folder(plan, folder)
    done = finished_trials(plan, folder)
    held = stored_study(folder)
    changed = change_sentence(held, plan.study, done) if held is not None else None
    _measure(driver, plan, done, request, console)
    places = driver.places(plan, request.workers)
    show_plan(plan, console)
    _say(console, changed, free_space_sentence(folder, plan), *_problems(driver, plan))
    _say(console, _size(driver, plan, done, places.workers))
    if request.dry_run:
        return _show_script(driver, request, console)
    taken = driver.prepare(plan)
    _say(console, *(corpus.describe() for corpus in driver.corpora.values()), _taken_sentence(taken))
    if request.retry is not None:
        _say(console, f"{retry(plan, folder, request.retry)} failed trials run again.")
    if request.executor == "slurm":
        return _submit(driver, request, console)
    with StudyDisplay(plan, finished_trials(plan, folder), console) as display, stop_on_signal() as stop:
        executor = _executor(driver, plan, request, display)
        reason = driver.run(
            plan, executor, stop, replanned=lambda new: display.extend(new, finished_trials(new, folder))
        )
    _conclude(driver, reason, console)


def _with_checked_options(request: Request) -> Request:
    """Return the request with `workers` among the executor's options, after these have been checked.

    Raises:
        UserError: an option is unknown, or does not fit.

    """
    from deepsight.errors import UserError
    from deepsight.validation import validated

    if request.executor == "local":
        if request.options:
            raise UserError("--executor-option belongs to --executor ray or slurm")
        return request
    if request.executor == "ray":
        from ablations.executors.ray_tasks import RayOptions

        request = _with_workers(request, "most_at_once")
        validated(RayOptions, request.options)
        return request
    from ablations.executors.slurm import slurm_options

    request = _with_workers(request, "workers")
    slurm_options(request.options)
    return request


def _with_workers(request: Request, key: str) -> Request:
    """Return the request with --workers as one of its executor's options, where that is not given."""
    if request.workers is None or key in request.options:
        return request
    return replace(request, options={**request.options, key: request.workers})


def _measure(driver: Driver, plan: Plan, done: set[str], request: Request, console: Console) -> None:
    """Take a few steps of each distinct shape that is still to run, so that time, memory and first errors are known."""
    from deepsight.machine import usable_cores

    configs = [trial.config for trial in plan.trials if trial.id not in done]
    with console.status("taking a few steps of each shape"):
        driver.measurements.measure(configs, request.workers or usable_cores())


def _problems(driver: Driver, plan: Plan) -> list[str]:
    from ablations.estimate import Measured, shape_of

    problems: dict[str, str] = {}
    for trial in plan.trials:
        found = driver.measurements.known.get(shape_of(trial.config), Measured()).problem
        if found:
            problems.setdefault(trial.arm, f"{trial.arm} will fail: {found}")
    return list(problems.values())


def _size(driver: Driver, plan: Plan, done: set[str], workers: int) -> str:
    """Say how large the study is, and what is left of it takes."""
    from ablations.display import duration

    missing = len(plan.trials) - len(done)
    at_once = min(workers, missing) or 1
    seconds = driver.seconds(plan, done) / at_once
    memory = max((driver.need(trial).memory for trial in plan.trials), default=0)
    parts = [f"{len(plan.study.arms)} arms, {len(plan.trials)} trials"]
    parts += [f"{len(done)} of them done"] if done else []
    parts += [f"up to {memory / 1e6:,.0f} MB each"] if memory else []
    time = "" if math.isnan(seconds) else f"about {duration(seconds)} "
    later = ", then those of the arms that are being tuned" if plan.tuning_pending else ""
    return f"{', '.join(parts)}; {time}with {workers} {'worker' if workers == 1 else 'workers'}{later}."


def _taken_sentence(taken: dict[str, Any]) -> str | None:
    if not taken:
        return None
    sources = ", ".join(sorted({str(source) for source in taken.values()}))
    return f"{len(taken)} finished trials were taken over from {sources}."


def _executor(driver: Driver, plan: Plan, request: Request, display: StudyDisplay) -> Executor:
    from ablations.supervisor import Supervisor

    job = driver.job
    if request.executor == "ray":
        from ablations.executors.ray_tasks import RayExecutor, RayOptions
        from deepsight.validation import validated

        options = validated(RayOptions, request.options)
        return RayExecutor(job.folder, job.plugins, display, request.rules, options, driver.corpus)
    places = driver.places(plan, request.workers)
    return Supervisor(job.folder, places, job.plugins, display, request.rules, driver.need, driver.corpus)


def _show_script(driver: Driver, request: Request, console: Console) -> None:
    """Print the script that Slurm would be given, where Slurm is what was asked for."""
    if request.executor == "slurm":
        from ablations.executors.slurm import render, slurm_options

        console.print(render(driver.job, slurm_options(request.options)), highlight=False, soft_wrap=True, markup=False)


def _submit(driver: Driver, request: Request, console: Console) -> None:
    """Queue the study's worker loops and leave."""
    from ablations.executors.slurm import slurm_options, submit
    from ablations.stored import STUDY_FILE

    # The folder's own copy of the study: the file that was named may change before the loops read it.
    job = replace(driver.job, study=(driver.job.folder / STUDY_FILE).absolute(), folder=driver.job.folder.absolute())
    jobs = submit(job, request.rules, slurm_options(request.options))
    _say(
        console,
        f"Queued {len(jobs)} worker loops ({', '.join(jobs)}). deepsight ablate --status {driver.job.folder} says how "
        "it goes, and deepsight report builds the page from what is there.",
    )


def _conclude(driver: Driver, reason: str | None, console: Console) -> None:
    from ablations.running import failed_trials, finished_trials
    from deepsight.errors import UserError
    from reports.build import build

    folder = driver.job.folder
    if reason == "asked":
        _say(console, "Stopped; each trial left a checkpoint, and the same command goes on.")
        raise typer.Exit(130)
    if reason is not None:
        _say(console, f"Stopped: {reason}. The same command goes on with the other trials.")
    plan = driver.plan()
    _say(console, f"The report is at {build(folder)}")
    failed = failed_trials(plan, folder)
    if failed:
        counts = {kind: list(failed.values()).count(kind) for kind in failed.values()}
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        _say(console, f"Failed: {kinds}. --retry failed runs these trials again, --retry all also those that diverged.")
    if failed or reason is not None:
        raise typer.Exit(1)
    if not finished_trials(plan, folder):
        raise UserError(f"{folder}: no trial finished")


def show_seeds_needed(driver: Driver, difference: float, workers: int | None, console: Console) -> None:
    """Print how many seeds and hours would show a difference, from the trials that a study has finished."""
    from ablations.frames import load
    from deepsight.cli.table_display import print_table
    from deepsight.machine import usable_cores
    from reports.planning import seeds_needed

    folder = driver.job.folder
    sentence, table = seeds_needed(driver.plan().study, load(folder), difference, workers=workers or usable_cores())
    print_table(table, console)
    _say(console, sentence)


def _say(console: Console, *sentences: str | None) -> None:
    from deepsight.terminal import printable

    for sentence in sentences:
        if sentence:
            console.print(printable(sentence), highlight=False, soft_wrap=True, markup=False)
