"""Where in the validation text the loss lies: by position in the window, by document, by how far ahead."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from deepsight.data.source import Windows
from deepsight.loss import token_losses
from deepsight.trace import IGNORED, Trace

Sums = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

AHEAD = re.compile(r"ahead_(\d+)(_tokens)?")
"""Metrics of objectives that are a cross-entropy of the token so far ahead of the last one read."""


class Breakdown:
    """Takes in the losses of one pass over the validation windows.

    Only the part of a document that lies in the windows counts.

    Args:
        windows: that the pass goes over.
        batch_size: in which it does.

    """

    def __init__(self, windows: Windows, batch_size: int) -> None:
        self.context = windows.context
        self._windows_read, self._batch_size = windows, batch_size
        documents = windows.documents
        self._positions: tuple[Sums, Counts] = np.zeros(self.context), np.zeros(self.context, np.int64)
        self._documents: tuple[Sums, Counts] = np.zeros(documents), np.zeros(documents, np.int64)
        self._ahead: dict[str, dict[int, float]] = {}
        self._windows = 0

    def add(self, trace: Trace, said: Mapping[str, Mapping[str, Tensor]], batch: int) -> None:
        """Take in one batch.

        Args:
            trace: of the network; what does not count has `IGNORED` for a target.
            said: label → what that objective said of the batch.
            batch: its number, from 0.

        """
        nats = token_losses(trace).double().cpu().numpy()
        counted = (trace.targets != IGNORED).cpu().numpy()
        first = self.context - trace.targets.shape[1]
        positions = np.broadcast_to(np.arange(first, self.context), nats.shape)
        documents = self._windows_read.documents_of(batch, self._batch_size)[:, first:]
        for places, (sums, counts) in ((positions, self._positions), (documents, self._documents)):
            np.add.at(sums, places[counted], nats[counted])
            np.add.at(counts, places[counted], 1)
        for label, parts in said.items():
            for name, loss in parts.items():
                # Where a loss has other parts too, its cross-entropy stands beside it.
                if (found := AHEAD.fullmatch(name)) and f"{name}_tokens" not in parts:
                    losses = self._ahead.setdefault(label, {})
                    distance = int(found[1])
                    losses[distance] = losses.get(distance, 0.0) + float(loss) * len(nats)
        self._windows += len(nats)

    def content(self) -> dict[str, Any]:
        """Return what was taken in, as plain data.

        `positions` and `documents` hold their number (from 0), `nats` (summed) and `tokens`, of those that have any;
        `ahead` the mean loss of each objective's heads, label → tokens ahead → nats per token.
        """
        return {
            "positions": _listed("position", *self._positions),
            "documents": _listed("document", *self._documents),
            "ahead": {
                label: {str(k): total / self._windows for k, total in losses.items() if math.isfinite(total)}
                for label, losses in self._ahead.items()
            },
        }


def _listed(name: str, sums: Sums, counts: Counts) -> dict[str, list[Any]]:
    (there,) = counts.nonzero()
    return {name: there.tolist(), "nats": sums[there].tolist(), "tokens": counts[there].tolist()}
