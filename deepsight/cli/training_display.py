"""What a person sees while one run trains: loss, speed, and the time left."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deepsight.cli.common import other_measures
from deepsight.config import RunConfig


class TrainingDisplay:
    """Follows a run: a bar on a terminal, one line an evaluation anywhere."""

    def __init__(self, config: RunConfig, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=config.training.steps, note="")
        self._before: tuple[float, float] = (0.0, 0.0)
        self._speed = ""

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, row: dict[str, Any]) -> None:
        """Show a row that the run recorded."""
        tokens, seconds = self._before
        if row["seconds"] > seconds:
            self._speed = f"{(row['tokens'] - tokens) / (row['seconds'] - seconds):,.0f} tokens/s"
        self._before = (row["tokens"], row["seconds"])
        if row["kind"] == "train":
            self._bar.update(self._task, completed=row["step"], note=f"loss {row['loss']:.4f}, {self._speed}")
            return
        self._bar.update(self._task, completed=row["step"])
        trained = f", training loss {row['train_loss']:.4f}" if row["train_loss"] is not None else ""
        self.console.print(
            f"step {row['step']:>6}: validation loss {row['validation_loss']:.4f}{other_measures(row)}{trained}"
            f"{', ' if self._speed else ''}{self._speed}",
            highlight=False,
            soft_wrap=True,
        )
