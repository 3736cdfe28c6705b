"""What states know of the tokens ahead: bits by place and distance, losses beside their controls, and bags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.probe_arms import Drawing, Styles, Tables
from reports.figures.probe_controls import Control, beside_controls
from reports.figures.probe_heat import BAR_WIDTH, CELL_HEIGHT, colour_bar, draw_heat, reach_of
from reports.figures.probe_maps import means_by_place, place_maps
from reports.figures.style import (
    CHARACTER_WIDTH,
    COLUMN_WIDTH,
    LINE_HEIGHT,
    TEXT_WIDTH,
    applied,
    new_figure,
    wrapped,
)

PROBES = {"linear": "linear probes", "mlp": "small networks"}
MOST_PANELS = 8
CONTROLS = {
    "unigram": Control((0, (1, 1.2)), "no state: how frequent a token is"),
    "text_bigram": Control((0, (4, 1.5)), "no state: what follows the token at hand in the text"),
    "untrained": Control((0, (5, 1.2, 1, 1.2)), "the same probe on the network before training"),
}


def future_drawings(tables: Tables, styles: Styles) -> Iterator[Drawing]:
    """Yield the figures of the probe `future`."""
    states = tables["states"]
    for probe in (probe for probe in PROBES if (states["probe"] == probe).any()):
        parts = arms_of_parts(states, styles)
        for number, arms in enumerate(parts, start=1):
            end, of = (f"_{number}", f", part {number} of {len(parts)}") if len(parts) > 1 else ("", "")
            title = f"What {PROBES[probe]} read of the tokens ahead{of}"
            yield f"probe_future_{probe}{end}", title, BITS_CAPTION, future_bits(states, styles, probe, arms)
    yield (
        "probe_future_losses",
        "Losses of probes of the tokens ahead",
        LOSSES_CAPTION,
        future_losses(states, tables["controls"], styles),
    )


def bag_drawings(tables: Tables, styles: Styles) -> Iterator[Drawing]:
    """Yield the figure of the probe `future_bag`."""
    title = "What linear probes read of which tokens come"
    yield "probe_future_bag", title, BAG_CAPTION, bag_gains(tables["states"], styles)


def arms_of_parts(states: pd.DataFrame, styles: Styles) -> list[list[str]]:
    """Return the arms that stand in each figure, as evenly as can be."""
    arms = [arm for arm in styles if (states["arm"] == arm).any()]
    parts = -(-len(arms) // MOST_PANELS)
    return [list(part) for part in np.array_split(np.array(arms, dtype=object), parts)] if arms else []


def future_bits(states: pd.DataFrame, styles: Styles, probe: str, arms: Sequence[str]) -> Figure | None:
    """Draw the bits above the best control, one panel an arm, places × tokens ahead; means over seeds."""
    own = states[states["probe"] == probe]
    tables = {arm: means_by_place(own[own["arm"] == arm], "ahead", "bits") for arm in arms}
    return place_maps(tables, styles, "tokens ahead", "bits above the best control")


def future_losses(states: pd.DataFrame, controls: pd.DataFrame, styles: Styles) -> Figure | None:
    """Draw the cross-entropy of linear probes against the distance, one panel a place, beside the controls.

    Dots are means over seeds with 95 % t intervals, from three seeds on; controls are means over all runs.
    """
    own = states[states["probe"] == "linear"]
    of_linear = controls[controls["probe"].isna() | (controls["probe"] == "linear")]
    labels = ("tokens ahead", "cross-entropy (nats per token)")
    return beside_controls(own, of_linear, styles, CONTROLS, "cross_entropy", labels)


def bag_gains(states: pd.DataFrame, styles: Styles) -> Figure | None:
    """Draw the average precision above the best control, places × arms; means over seeds."""
    arms = [arm for arm in styles if (states["arm"] == arm).any()]
    if not arms:
        return None
    table = means_by_place(states, "arm", "gain")[arms]
    names = CHARACTER_WIDTH * max(len(str(place)) for place in table.index)
    width = COLUMN_WIDTH if 0.62 * len(arms) < COLUMN_WIDTH - BAR_WIDTH - names else TEXT_WIDTH
    cells = width - BAR_WIDTH - names - 0.1
    columns = [wrapped(styles[arm].label, max(4, int(cells / len(arms) / CHARACTER_WIDTH)), 4) for arm in arms]
    lines = max(name.count("\n") + 1 for name in columns)
    with applied():
        figure = new_figure(width, len(table) * CELL_HEIGHT + (lines + 1) * LINE_HEIGHT + 0.3)
        axes = figure.subplots()
        mesh = draw_heat(axes, table, reach_of([table]), columns, cells)
        colour_bar(figure, mesh, [axes], "average precision\nabove the best control")
    return figure


BITS_CAPTION = (
    "Bits by which a probe, trained on single states at each place, predicts the token so far ahead better than the "
    "best control does: the frequency of tokens, what follows the token at hand, the same probe trained on shuffled "
    "labels, and the same probe on the network before training. Measured on documents that the probes have not seen; "
    "means over seeds; blue is more than any control."
)
LOSSES_CAPTION = (
    "Cross-entropy of linear probes, trained on single states, of the token so far ahead, with 95 % t intervals over "
    "seeds (from three on), beside controls (grey). Rare tokens are one class, so this is no loss of the network."
)
BAG_CAPTION = (
    "Average precision, above the best control, with which a linear probe on single states finds the positions in "
    "whose window a token comes: mean over tokens, and over seeds; blue is more than any control."
)
