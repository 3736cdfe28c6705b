"""How much a decoder uses what its encoder planned: what the loss is when it reads something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from deepsight.errors import UserError
from deepsight.evaluation.player import ROWS_OF_A_DRAW, NetworkPlayer
from deepsight.evaluation.probes.attention_weights import DistanceSums, attention_layers, summing
from deepsight.evaluation.probes.held_out import (
    HeldOutTokens,
    Mean,
    Whole,
    by_doubling,
    by_position,
    held_out_tokens,
    mean_over,
)
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.evaluation.probes.replacing import (
    Reader,
    Replacement,
    Shuffled,
    Swapped,
    decoder_layers,
    encoder_outputs,
    replacing,
    single_readers,
    whole_readers,
)
from deepsight.plug_ins import probes
from deepsight.random_streams import derive
from deepsight.trace import IGNORED

Row = dict[str, Any]
Real = npt.NDArray[np.float64]

FEWEST = 3
"""Sequences, so that each has another that does not follow it."""


@probes.register("plan_use", formula="loss with another encoder output - loss")
class PlanUse(Probe):
    """How much worse a network predicts when its decoder reads another encoder output than its own.

    At inference, something else stands in place of the encoder output: `shuffled`, the outputs that a position sees in
    a random order of its own; `averaged`, the mean over training sequences at the same position, which says nothing of
    this one; `other_document`, the output at the same position of another held-out sequence, of other documents where
    there is one. None of them brings in a later token. It is read by all cross-attention (`cross_attention`), that of
    one layer (`decoder layer 1`, …), the `bridge` alone, or all of these (`everything`).

    Tables: `increase`, the loss added, nats per token, and its standard error over documents; `positions`, the same by
    position in the window, from 0; `task`, what becomes of the main measure of a planning task; `attention`, the share
    of its weight that each head (null: the mean of all) gives to what lies so many positions back, beside the share
    that equal weights would give, and the mean weight of a single position; `about`, what was measured.

    Args:
        windows: held-out sequences.
        answers: measure a planning task with each replacement too: ten times what it costs at an evaluation.

    """

    version = 1

    def __init__(self, windows: Annotated[int, Field(ge=FEWEST)] = 128, answers: bool = True) -> None:
        self.windows, self.answers = windows, answers

    def check(self, subject: Subject) -> None:
        """Refuse a network without cross-attention."""
        if not decoder_layers(subject.model):
            raise UserError(
                f"the architecture {subject.config.model.architecture_name} has no cross-attention on an encoder "
                "output, and the probe asks how that is used"
            )

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the tables `increase`, `positions`, `task` (of a planning task), `attention` and `about`.

        Raises:
            UserError: there are fewer than three held-out sequences, or nothing of them counts.

        """
        held = held_out_tokens(subject, self.windows)
        if len(held.inputs) < FEWEST:
            raise UserError(
                f"there are {len(held.inputs)} held-out sequences, and the probe needs {FEWEST}, to give each the "
                "encoder output of another; hold out more text"
            )
        donors = donors_of(held.documents)
        ablation = Ablation(subject, held, donors, alive)
        before, after = ablation.losses()
        increases = {place: losses - before for place, losses in after.items()}
        tables = {
            "increase": [{**_named(place), **_about(held, before, added)} for place, added in increases.items()],
            "positions": [
                row for place, added in increases.items() for row in _by_position(held, place, before, added)
            ],
        }
        if self.answers and (answers := ablation.answers()):
            tables["task"] = answers
        tables["attention"] = ablation.attention()
        others = _apart(held.documents, donors)
        tables["about"] = [
            {
                "sequences": len(held.inputs),
                "tokens": len(before),
                "documents": len(np.unique(held.counted_documents)),
                "loss": float(before.mean()),
                "donors_of_other_documents": int(others.sum()),
            }
        ]
        return tables


Place = tuple[str, Reader]


class Ablation:
    """Runs one network with other encoder outputs.

    Args:
        subject: the trained model.
        held: what is measured on.
        donors: for each sequence, that whose outputs it reads in place of its own.
        alive: called again and again.

    """

    def __init__(self, subject: Subject, held: HeldOutTokens, donors: Whole, alive: Callable[[], None]) -> None:
        self.subject, self.model, self.held, self.alive = subject, subject.model, held, alive
        self.donors = torch.from_numpy(donors)
        self.whole, self.single = whole_readers(subject.model), single_readers(subject.model)
        self.replacements = self._replacements()

    def losses(self) -> tuple[Real, dict[Place, Real]]:
        """Return the loss of each token that counts, (tokens,), and what it becomes, by what is read and by whom."""
        before: list[Tensor] = []
        after: dict[Place, list[Tensor]] = {}
        for rows in self.held.rows():
            self.alive()
            before.append(self.held.losses(self.model, rows))
            for name, reader, replacement in self._ways(rows, [*self.whole, *self.single]):
                self.alive()
                with replacing(replacement, reader):
                    after.setdefault((name, reader), []).append(self.held.losses(self.model, rows))
        return self._counted(before), {place: self._counted(losses) for place, losses in after.items()}

    def answers(self) -> list[Row]:
        """Return what becomes of the main measure of a task, by what is read and by which whole part; none of text."""
        # More rows are drawn in parts, and the second part would read what the first one does.
        count = min(len(self.held.inputs), ROWS_OF_A_DRAW)
        examples = self.subject.source.windows(context=self.model.config.context, count=count)
        player = NetworkPlayer(self.model, count, alive=self.alive, use_cache=False)
        measure, before = next(iter(examples.measures(player).items()), (None, 0.0))
        if measure is None:
            return []
        found = []
        for name, reader, replacement in self._ways(slice(0, count), self.whole):
            with replacing(replacement, reader):
                after = examples.measures(player)[measure]
            about = {"measure": measure.removeprefix("task:"), "value": before, "replaced_value": after}
            found.append({**_named((name, reader)), **about, "change": after - before})
        return found

    @torch.no_grad()
    def attention(self) -> list[Row]:
        """Return how the weights of all attention lie by distance."""
        layers = attention_layers(self.model)
        sums = [DistanceSums(place.layer.heads, self.model.config.context) for place in layers]
        for rows in self.held.rows():
            self.alive()
            with summing(layers, sums, self.held.targets[rows] != IGNORED):
                self.model.states(self.model.embedding(self.held.inputs[rows].to(self.subject.device)))
        return [
            {"attention": place.kind, "stack": place.stack, "layer": place.number, **row}
            for place, of_layer in zip(layers, sums, strict=True)
            for row in _by_distance(of_layer)
        ]

    def _ways(self, rows: slice, readers: Sequence[Reader]) -> Iterator[tuple[str, Reader, Replacement]]:
        for name, make in self.replacements.items():
            replacement = make(rows)
            for reader in readers:
                yield name, reader, replacement

    def _replacements(self) -> dict[str, Callable[[slice], Replacement]]:
        """Return what makes each replacement for some of the sequences."""
        context, seed = self.model.config.context, self.subject.seed
        training = self.subject.source.batches(context=context, batch_size=len(self.held.inputs), seed=seed)
        shuffled = Shuffled(context, derive(seed, "plan_use", "shuffled"))
        averaged = Swapped(self._outputs(training(0).inputs).mean(dim=0, keepdim=True))
        return {
            "shuffled": lambda rows: shuffled,
            "averaged": lambda rows: averaged,
            "other_document": lambda rows: Swapped(self._outputs(self.held.inputs[self.donors[rows]])),
        }

    def _outputs(self, inputs: Tensor) -> Tensor:
        size = next(iter(self.held.rows())).stop
        return torch.cat([encoder_outputs(self.model, some) for some in torch.split(inputs, size)])

    def _counted(self, losses: list[Tensor]) -> Real:
        return torch.cat(losses).double().numpy()[self.held.counted]


def donors_of(documents: Whole) -> Whole:
    """Return for each sequence another one, (sequences,), far away, of other documents where there is such a one.

    It is never the next one: in running text that begins with the last token that a sequence predicts.

    Args:
        documents: of each target, numbered in the order of the text, (sequences, time); at least three sequences.

    """
    count = len(documents)
    found = np.empty(count, dtype=np.int64)
    for place in range(count):
        others = (place + count // 2 + np.arange(count)) % count
        others = others[(others != place) & (others != place + 1)]
        found[place] = others[_apart(documents, others, place).argmax()]
    return found


def _apart(documents: Whole, others: Whole, of: int | slice = slice(None)) -> npt.NDArray[np.bool_]:
    """Return whether sequences have no document in common with others, whose documents stand in a row."""
    first, last = documents.min(axis=1), documents.max(axis=1)
    return np.asarray((first[others] > last[of]) | (last[others] < first[of]))


def _named(place: Place) -> Row:
    name, reader = place
    return {"replaced_by": name, "read_by": reader.label}


def _about(held: HeldOutTokens, before: Real, added: Real) -> Row:
    found = mean_over(added, held.counted_documents)
    loss = float(before.mean())
    return {
        "tokens": found.tokens,
        "documents": found.documents,
        "loss": loss,
        "replaced_loss": loss + found.value,
        **_increase(found),
    }


def _by_position(held: HeldOutTokens, place: Place, before: Real, added: Real) -> Iterator[Row]:
    for first, last, inside in by_position(held.positions):
        found = mean_over(added[inside], held.counted_documents[inside])
        yield {
            **_named(place),
            "first_position": first,
            "last_position": last,
            "tokens": found.tokens,
            "loss": float(before[inside].mean()),
            **_increase(found),
        }


def _increase(found: Mean) -> Row:
    return {"increase": found.value, "standard_error": found.error}


def _by_distance(sums: DistanceSums) -> Iterator[Row]:
    """Yield the rows of one layer: the mean over its heads, then each head."""
    (there,) = np.nonzero(sums.pairs.numpy())
    ranges = [(first, last, there[inside]) for first, last, inside in by_doubling(there)]
    for head, weights in [(None, sums.weights.mean(dim=0)), *enumerate(sums.weights, start=1)]:
        for first, last, inside in ranges:
            total = float(weights[inside].sum())
            yield {
                "head": head,
                "first_distance": first,
                "last_distance": last,
                "share": total / sums.queries,
                "uniform_share": float(sums.uniform[inside].sum()) / sums.queries,
                "weight": total / float(sums.pairs[inside].sum()),
            }
