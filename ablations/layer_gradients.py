"""How much each objective pulled at each layer over training, of a study's finished trials, as pandas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ablations.finished import finished_runs
from ablations.stored import StoredStudy
from deepsight.training.metrics import read_metrics
from deepsight.training.names import GRADIENTS_FILE

WHOLE = "all layers"
"""The layer that stands for the whole network."""
IDENTITY = ("trial", "arm", "seed")
NUMBERS = ("norm", "next_token_norm", "share", "cosine")
COLUMNS = (*IDENTITY, "step", "tokens", "objective", "coefficient", "layer", "depth", *NUMBERS)


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """What trials with `runtime.gradients_by_layer` recorded.

    Attributes:
        rows: one row for each trial, step, objective (its label) and layer, with `trial`, `arm`, `seed`, `tokens`,
            `coefficient`, the layer's `depth` (none for all layers together), and of the objective's gradient g beside
            that of next-token loss, n: `norm` ‖g‖, `next_token_norm` ‖n‖, `share` ‖g‖ / (‖g‖ + ‖n‖) and `cosine`; NaN
            where there is no number.

    """

    rows: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS)))

    def __eq__(self, other: object) -> bool:
        return self.rows.equals(other.rows) if isinstance(other, LayerGradients) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def read_layer_gradients(folder: str | Path, study: StoredStudy | None = None) -> LayerGradients:
    """Read what the finished trials of a study recorded; what cannot be read is left out.

    Args:
        folder: of the study.
        study: its plan, where that was read already.

    Raises:
        UserError: the folder holds no study.

    """
    found = [
        {"trial": run.trial, "arm": run.arm, "seed": run.seed, **row}
        for run in finished_runs(folder, study)
        for row in read_metrics(run.folder / GRADIENTS_FILE)
        if isinstance(row, dict) and set(COLUMNS) - set(IDENTITY) <= set(row)
    ]
    if not found:
        return LayerGradients()
    frame = pd.DataFrame(found)[list(COLUMNS)]
    return LayerGradients(frame.astype({"depth": "float64", **dict.fromkeys(NUMBERS, "float64")}))
