"""What `deepsight ablate` does with a study beside running it: status, removal of waste, repetition, export."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ablations.driver import Driver
    from ablations.plan import Plan
    from ablations.status import StudyStatus

WATCH_SECONDS = 2.0
MOST_FAILED = 20


def show_status(folder: Path, console: Console, *, watch: bool) -> None:
    """Print how a study stands; with `watch`, again and again until nothing runs and nothing waits.

    Exits with 1 where trials have failed.
    """
    from rich.live import Live

    from ablations.status import read_status

    status = read_status(folder)
    if watch and console.is_terminal:
        with Live(_view(status), console=console, transient=True) as live:
            while not status.is_over:
                time.sleep(WATCH_SECONDS)
                status = read_status(folder)
                live.update(_view(status))
    elif watch:
        said = ""
        while not status.is_over:
            if status.sentence() != said:
                said = status.sentence()
                console.print(said, highlight=False, soft_wrap=True, markup=False)
            time.sleep(WATCH_SECONDS)
            status = read_status(folder)
    console.print(_view(status))
    if status.count("failed"):
        raise typer.Exit(1)


def _view(status: StudyStatus) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from deepsight.terminal import printable

    parts: list[RenderableType] = [Text(printable(status.sentence()))]
    if status.count("running"):
        parts.append(_running(status))
    failed = [trial for trial in status.trials if trial.status == "failed"]
    for trial in failed[:MOST_FAILED]:
        kind, message = (str(trial.last.ending), trial.last.message) if trial.last else ("failed", "")
        times = f", {trial.attempts} attempts" if trial.attempts > 1 else ""
        parts.append(Text(printable(f"failed: {trial.arm} (seed {trial.seed}{times}): {kind}: {message}")))
    if len(failed) > MOST_FAILED:
        parts.append(Text(f"and {len(failed) - MOST_FAILED} more failed"))
    return Group(*parts)


def _running(status: StudyStatus) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from ablations.display import duration
    from deepsight.terminal import printable

    table = Table()
    table.add_column("running")
    for heading in ("seed", "step", "loss", "sign of life"):
        table.add_column(heading, justify="right")
    table.add_column("where")
    for trial in (trial for trial in status.trials if trial.status == "running"):
        loss = trial.row.get("loss", trial.row.get("validation_loss"))
        silent = "none yet" if trial.silent_seconds is None else f"{duration(trial.silent_seconds)} ago"
        where = f"{trial.last.host}, process {trial.last.process}" if trial.last else ""
        table.add_row(
            Text(printable(f"{trial.arm}{' (tuning)' if trial.tuning else ''}")),
            str(trial.seed),
            f"{trial.row.get('step', 0)}/{trial.steps or '?'}",
            "" if loss is None else f"{loss:.4f}",
            silent,
            Text(printable(where)),
        )
    return table


def remove_waste(folder: Path, console: Console, *, really: bool) -> None:
    """Print what a study's folder does not need, and remove it where that is `really` wanted."""
    from ablations.housekeeping import remove, waste_in

    waste = waste_in(folder)
    for one in waste:
        name = one.path.relative_to(folder)
        console.print(f"{name}: {one.reason}, {_size(one.size)}", highlight=False, soft_wrap=True, markup=False)
    if not waste:
        console.print(f"{folder}: there is nothing to remove", highlight=False, soft_wrap=True, markup=False)
    elif really:
        console.print(f"Removed {_size(remove(waste))}.", highlight=False)
    else:
        total = _size(sum(one.size for one in waste))
        console.print(f"{total} in all; nothing was removed, --yes removes it.", highlight=False)


def export_study(folder: Path, file: Path | None, console: Console, *, checkpoints: bool) -> None:
    """Pack a study into one archive and say how to use it."""
    from ablations.archive import export

    target = file or Path(f"{folder.absolute().name}.tar.gz")
    count = export(folder, target, checkpoints=checkpoints)
    name = folder.absolute().name
    console.print(
        f"{target}: {count} finished trials, {_size(target.stat().st_size)}. Elsewhere: tar xzf {target.name}, then "
        f"deepsight report {name}, or deepsight ablate {name}/study.yaml --out {name} to run what is missing.",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def verify(driver: Driver, plan: Plan, count: int, console: Console) -> None:
    """Run some finished trials again and compare; exits with 1 where one is not the same."""
    import secrets
    import shutil

    from ablations.driver import Silent
    from ablations.supervisor import Supervisor
    from ablations.verification import chosen, compare, fresh_folder
    from deepsight.errors import UserError
    from deepsight.terminal import printable

    folder = driver.job.folder
    trials = chosen(plan, folder, count, secrets.randbits(32))
    if not trials:
        raise UserError(f"{folder}: no trial has finished, so none can be verified")
    console.print(f"Running {len(trials)} finished trials again, from the start.", highlight=False)
    again = fresh_folder(folder)
    Supervisor(again, driver.places(plan, None), driver.job.plugins, Silent(), need=driver.need).run(trials)
    checks = compare(folder, again, trials)
    for check in checks:
        console.print(printable(check.sentence()), highlight=False, soft_wrap=True, markup=False)
    if not all(check.holds for check in checks):
        console.print(f"The second runs are kept in {again}.", highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(1)
    shutil.rmtree(again)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
