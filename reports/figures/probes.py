"""The figures of probes, by the probe that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from ablations.probed import Probed
from reports.figures.gradient_evidence import gradient_figures
from reports.figures.probe_arms import Drawing
from reports.figures.probe_board import board_drawings
from reports.figures.probe_drafting import drafting_drawings
from reports.figures.probe_future import bag_drawings, future_drawings
from reports.figures.probe_plan_use import plan_use_drawings
from reports.figures.probe_token_losses import token_losses_drawings
from reports.figures.style import ArmStyle

DRAWINGS: dict[str, Callable[[Mapping[str, pd.DataFrame], Mapping[str, ArmStyle]], Iterator[Drawing]]] = {
    "board": board_drawings,
    "drafting": drafting_drawings,
    "future": future_drawings,
    "future_bag": bag_drawings,
    "plan_use": plan_use_drawings,
    "token_losses": token_losses_drawings,
    "gradient_evidence": gradient_figures,
}
"""Probe → what draws its tables (by name), given how each arm is drawn; a probe that is not here has no figures."""


def probe_drawings(found: Probed, styles: Mapping[str, ArmStyle]) -> Iterator[Drawing]:
    """Yield the figures of all probes that found something, those of one probe together.

    Args:
        found: in the trials of a study, or in a run.
        styles: of each arm, in the order in which they are shown.

    """
    for probe in found.probes:
        if probe in DRAWINGS:
            yield from DRAWINGS[probe](found.tables(probe), styles)
