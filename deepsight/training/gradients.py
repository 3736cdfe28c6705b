"""The record of each objective's gradient in every layer, over training: measured aside, and kept in its own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from deepsight.architecture import Architecture
from deepsight.config import RunConfig
from deepsight.data.source import Source
from deepsight.evaluation.gradients import compared, gradients_of, layers_of
from deepsight.objectives_of_run import Objectives
from deepsight.training.metrics import MetricsFile, read_metrics
from deepsight.training.names import GRADIENTS_FILE

SEQUENCES = 16
"""Held-out sequences that are measured, the same at every step: whatever fits a training batch, so that it fits too."""


class GradientRecord:
    """Appends rows to `gradients.jsonl`: one for each objective and layer at each evaluation.

    A row has `step` and `tokens` (those of the evaluation), `objective`, `coefficient`, `layer` and `depth`, and
    `norm`, `next_token_norm`, `share` and `cosine` (`deepsight.evaluation.gradients.compared`), which may be null. The
    coefficient is that of the step before, at first that of the first one.

    Args:
        folder: the run's own.
        config: of the run.
        model, objectives: that are trained.
        source: what the run learns from.
        device: of the model.
        alive: called before each measurement.
        step: where the run goes on, None where it begins; rows of later ones, which a killed process left, are dropped.

    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        model: Architecture,
        objectives: Objectives,
        source: Source,
        device: torch.device,
        alive: Callable[[], None],
        step: int | None,
    ) -> None:
        self.config, self.model, self.objectives, self.alive = config, model, objectives, alive
        self.layers = layers_of(model)
        count = min(SEQUENCES, config.training.batch_size)
        windows = source.windows(context=config.model.context, count=count, later=objectives.lookahead)
        self.batch = next(windows.batches(count)).to(device)
        file = folder / GRADIENTS_FILE
        kept = 0 if step is None else sum(row["step"] <= step for row in read_metrics(file))
        self._file = MetricsFile(file, kept)

    def measure(self, step: int, tokens: int) -> None:
        """Measure and append."""
        self.alive()
        done = max(0, step - 1) / self.config.training.steps
        coefficients = self.objectives.coefficients(done)
        at_once = self.config.runtime.micro_batch_size
        found = gradients_of(self.model, self.objectives, self.batch, coefficients, at_once)
        for label, own in found.objectives.items():
            about = {"step": step, "tokens": tokens, "objective": label, "coefficient": coefficients[label]}
            for layer, numbers in compared(own, found.next_token, self.layers):
                self._file.append({**about, "layer": layer.name, "depth": layer.depth, **numbers})

    def sync(self) -> None:
        """Wait until everything appended is on disk."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
