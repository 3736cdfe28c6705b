"""What a person sees while a study runs: counts, trials under way with their losses, failures, the time left."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ablations.plan import Plan, Trial
from deepsight.terminal import printable


class StudyDisplay:
    """Follows a study: a live view on a terminal, one line an event elsewhere.

    Args:
        plan: of the study.
        done: trials that were finished before.
        console: where to write.

    """

    def __init__(self, plan: Plan, done: set[str], console: Console) -> None:
        self.console = console
        self.total = 0
        self.done, self.failures = 0, 0
        self._work: dict[str, float] = {}
        self._finished_work = 0.0
        self._running: dict[str, tuple[Trial, dict[str, Any]]] = {}
        self._started = time.monotonic()
        self._bar = Progress(TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        self._task = self._bar.add_task("trials", total=None, note="")
        self._live = Live(Group(), console=console, refresh_per_second=4, transient=True)
        self.extend(plan, done)

    def extend(self, plan: Plan, done: Collection[str]) -> None:
        """Take note of a plan's trials, those that are done, and those that became known since the last call."""
        self.total, self.done = len(plan.trials), len(done)
        missing = (trial for trial in plan.trials if trial.id not in done)
        self._work |= {trial.id: _work(plan, trial) for trial in missing if trial.id not in self._work}

    def __enter__(self) -> StudyDisplay:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def started(self, trial: Trial) -> None:
        """Show a trial among those under way."""
        self._running[trial.id] = (trial, {})

    def advanced(self, trial: Trial, row: dict[str, Any]) -> None:
        """Show a trial's newest numbers."""
        if trial.id in self._running:
            self._running[trial.id][1].update(row)

    def finished(self, trial: Trial) -> None:
        """Count a trial as done and say its loss."""
        self.done += 1
        _, row = self._running.get(trial.id, (trial, {}))
        loss = row.get("validation_loss")
        said = f"validation loss {loss:.4f}" if loss is not None else "done"
        self._ended(trial, f"{self._count()} {escape(_name(trial))}: {said}, {row.get('seconds', 0):.1f} s")

    def failed(self, trial: Trial, kind: str, message: str, *, again: bool) -> None:
        """Report a failure at once."""
        said = f"{escape(_name(trial))}: {kind}: {escape(printable(message))}"
        if again:
            self._running.pop(trial.id, None)
            self.console.print(f"[bold yellow]once more[/] {said}", highlight=False, soft_wrap=True)
            return
        self.failures += 1
        self._ended(trial, f"[bold red]failed[/] {said}")

    def waiting(self) -> None:
        """Refresh what is shown."""
        if self.console.is_terminal:
            self._live.update(self._view())

    def _ended(self, trial: Trial, line: str) -> None:
        self._running.pop(trial.id, None)
        self._finished_work += self._work.get(trial.id, 0.0)
        self.console.print(line, highlight=False, soft_wrap=True)

    def _count(self) -> str:
        return f"[{self.done}/{self.total}]".replace("[", r"\[")

    def _view(self) -> Group:
        failed = f", {self.failures} failed" if self.failures else ""
        self._bar.update(self._task, total=self.total, completed=self.done, note=f"{self._time_left()}{failed}")
        table = Table.grid(padding=(0, 2))
        for trial, row in self._running.values():
            steps = trial.config.training.steps
            loss = row.get("loss", row.get("train_loss"))
            table.add_row(
                Text(_name(trial), style="cyan", overflow="ellipsis", no_wrap=True),
                f"step {row.get('step', 0)}/{steps}",
                f"loss {loss:.4f}" if loss is not None else "starting",
            )
        return Group(self._bar, table)

    def _time_left(self) -> str:
        total = sum(self._work.values())
        under_way = sum(
            self._work.get(trial.id, 0.0) * row.get("step", 0) / trial.config.training.steps
            for trial, row in self._running.values()
        )
        share = (self._finished_work + under_way) / total if total else 1.0
        elapsed = time.monotonic() - self._started
        if share < 0.01:
            return f"{duration(elapsed)} elapsed"
        return f"{duration(elapsed)} elapsed, about {duration(elapsed * (1 - share) / share)} left"


def duration(seconds: float) -> str:
    """Return a time in words: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _name(trial: Trial) -> str:
    tried = f", trying {trial.candidate}" if trial.candidate else ""
    return printable(f"{trial.arm} (seed {trial.config.seed}{tried})")


def _work(plan: Plan, trial: Trial) -> float:
    training = trial.config.training
    tokens = training.steps * training.batch_size * trial.config.sequence_length
    return float(plan.costs[trial.arm].training_flops_per_token * tokens)
