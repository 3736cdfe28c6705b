"""How much each objective pulls at each layer, and whether in the direction of next-token prediction."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.building import build_objectives
from deepsight.data.batches import Batch
from deepsight.errors import UserError
from deepsight.evaluation.gradients import Gradients, Layer, compared, gradients_of, layers_of, trained_weights
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.myopia import myopic
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import probes

Row = dict[str, Any]


@probes.register(
    "gradient_evidence",
    formula="‖g‖ / (‖g‖ + ‖n‖) and cos(g, n), with g = ∇ coefficient · objective and n = ∇ next-token loss",
    source="after Yu et al. (2020), arXiv 2001.06782, and Du et al. (2018), arXiv 1812.02224",
)
class GradientEvidence(Probe):
    """Measure each objective's gradient beside that of next-token loss, in every layer, on held-out sequences.

    The gradients are those on the weights of the network, coefficients applied, each loss differentiated alone and
    without dropout; on the trained network with its objectives as the last step saw them, and on both with the weights
    and the coefficients that training began with. A layer that an objective does not reach has a share of zero and no
    cosine. The output matrix is the embedding, in which its gradient is counted.

    Table `gradients`, one row for `weights` (trained or untrained), `objective` and `layer`: `norm` ‖g‖,
    `next_token_norm` ‖n‖, `share` and `cosine` are means over batches, of which the cosine is large where both losses
    share the noise of one batch; `share_deviation` and `cosine_deviation` are standard deviations over batches;
    `cosine_of_means` is the cosine between the mean gradients of all batches.

    Args:
        batches: of held-out sequences, at most.
        batch_size: sequences in a batch.

    """

    version = 1

    def __init__(self, batches: Annotated[int, Field(ge=1)] = 4, batch_size: Annotated[int, Field(ge=1)] = 16) -> None:
        self.batches, self.batch_size = batches, batch_size

    def check(self, subject: Subject) -> None:
        """Refuse a run without an objective."""
        if not subject.objectives.parts:
            raise UserError("this run has no objective beside next-token prediction, whose gradient could be compared")

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the table `gradients`."""
        steps = subject.config.training.steps
        model, objectives = _untrained(subject)
        rows = [
            *self._rows("untrained", subject, model, objectives, 0.0, alive),
            *self._rows("trained", subject, subject.model, subject.objectives, (steps - 1) / steps, alive),
        ]
        return {"gradients": rows}

    def _rows(
        self,
        weights: str,
        subject: Subject,
        model: Architecture,
        objectives: Objectives,
        progress: float,
        alive: Callable[[], None],
    ) -> list[Row]:
        layers, coefficients = layers_of(model), objectives.coefficients(progress)
        sizes = [weight.numel() for weight in trained_weights(model).values()]
        found = _Sums()
        for batch in self._held_out(subject, objectives):
            alive()
            with myopic(subject.config.training.myopic):
                at_once = subject.config.runtime.micro_batch_size
                found.add(gradients_of(model, objectives, batch, coefficients, at_once), layers)
        return [
            {
                "weights": weights,
                "objective": label,
                "coefficient": coefficients[label],
                "layer": layer.name,
                "depth": layer.depth,
                "parameters": sum(sizes[place] for place in layer.weights),
                **numbers,
            }
            for label in objectives.parts
            for layer, numbers in found.summed_up(label, layers)
        ]

    def _held_out(self, subject: Subject, objectives: Objectives) -> list[Batch]:
        windows = subject.source.windows(
            context=subject.config.model.context, count=self.batches * self.batch_size, later=objectives.lookahead
        )
        return [batch.to(subject.device) for batch in windows.batches(self.batch_size)]


class _Sums:
    """What is known of some batches."""

    def __init__(self) -> None:
        self.batches: dict[str, list[list[dict[str, float | None]]]] = {}
        self.total: Gradients | None = None

    def add(self, found: Gradients, layers: Sequence[Layer]) -> None:
        """Take in one batch."""
        for label, own in found.objectives.items():
            numbers = [numbers for _, numbers in compared(own, found.next_token, layers)]
            self.batches.setdefault(label, []).append(numbers)
        if self.total is None:
            self.total = found
            return
        _add(self.total.next_token, found.next_token)
        for label, own in found.objectives.items():
            _add(self.total.objectives[label], own)

    def summed_up(self, label: str, layers: Sequence[Layer]) -> list[tuple[Layer, dict[str, float | None]]]:
        """Return what the batches say of an objective in each layer."""
        assert self.total is not None
        together = compared(self.total.objectives[label], self.total.next_token, layers)
        found = []
        for at, (layer, of_means) in enumerate(together):
            batches = [batch[at] for batch in self.batches[label]]
            numbers = {name: _mean([batch[name] for batch in batches]) for name in of_means}
            numbers |= {
                f"{name}_deviation": _deviation([batch[name] for batch in batches]) for name in ("share", "cosine")
            }
            found.append((layer, {**numbers, "cosine_of_means": of_means["cosine"]}))
        return found


def _untrained(subject: Subject) -> tuple[Architecture, Objectives]:
    """Return network and objectives as the first step finds them."""
    config, source, device = subject.config, subject.source, subject.device
    model = subject.untrained()
    objectives = build_objectives(config, model.shape).to(device)
    objectives.prepare(Preparation(model, lambda: source.token_counts().to(device), config.seed))
    objectives.progress(0.0)
    return model, objectives.eval()


def _add(total: Sequence[Tensor], found: Sequence[Tensor]) -> None:
    for sum_so_far, gradient in zip(total, found, strict=True):
        with torch.no_grad():
            sum_so_far += gradient


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    return statistics.fmean(known) if (known := _known(values)) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    return statistics.stdev(known) if len(known := _known(values)) > 1 else None
