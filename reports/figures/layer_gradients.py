"""How much an objective pulls at each layer over training, and whether against next-token prediction."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ablations.stored import StoredStudy
from reports.figures.layer_maps import Scale, Values, colour_bar, draw_map, map_height, ordered_layers
from reports.figures.style import TEXT_WIDTH, applied, arm_styles, new_figure

MOST_ARMS = 4
"""Arms in one figure; more of them take several."""
MOST_TICKS = 5
SIDES = {"share": "share of the gradient", "cosine": "cosine with the gradient of next-token loss"}


def pulling_objectives(study: StoredStudy, rows: pd.DataFrame) -> list[str]:
    """Return the objectives whose gradients were recorded, in alphabetical order; those of controls are left out.

    Args:
        study: the study.
        rows: as `ablations.layer_gradients.LayerGradients.rows`.

    """
    controls = [arm.name for arm in study.arms if arm.control]
    return sorted(set(rows.loc[~rows["arm"].isin(controls), "objective"]))


def layer_gradient_parts(study: StoredStudy, rows: pd.DataFrame, objective: str) -> int:
    """Return how many figures the arms with an objective take."""
    return -(-len(_arms(study, rows, objective)) // MOST_ARMS)


def layer_gradients(
    study: StoredStudy, rows: pd.DataFrame, objective: str | None = None, part: int = 0
) -> Figure | None:
    """Draw two maps of each arm, layer against step: an objective's share of the gradient, and its cosine.

    Each cell is the mean over finished trials; blank where there is no gradient to compare.

    Args:
        study: the study.
        rows: as `ablations.layer_gradients.LayerGradients.rows`.
        objective: label; the first by default.
        part: one of `layer_gradient_parts`.

    Returns:
        None where nothing was recorded.

    """
    names = pulling_objectives(study, rows)
    objective = objective or (names[0] if names else None)
    arms = _arms(study, rows, objective)[part * MOST_ARMS : (part + 1) * MOST_ARMS] if objective else []
    if not arms:
        return None
    own = rows[rows["objective"] == objective]
    maps = {arm: _maps(own[own["arm"] == arm]) for arm in arms}
    with applied():
        return _drawn(study, maps)


def _arms(study: StoredStudy, rows: pd.DataFrame, objective: str) -> list[str]:
    there = set(rows.loc[rows["objective"] == objective, "arm"])
    return [arm.name for arm in study.arms if arm.name in there and not arm.control]


def _maps(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the mean of each side, indexed by layer, one column a step."""
    layers = ordered_layers(rows["layer"].tolist(), rows["depth"].tolist())
    # Steps that every trial has reached: trials of an arm are evaluated alike.
    tables = {side: rows.pivot_table(index="layer", columns="step", values=side, dropna=False) for side in SIDES}
    return {side: table.reindex(index=layers) for side, table in tables.items()}


def _drawn(study: StoredStudy, maps: dict[str, dict[str, pd.DataFrame]]) -> Figure:
    labels = arm_styles(study)
    heights = [map_height([str(name) for name in sides["share"].index]) for sides in maps.values()]
    figure = new_figure(TEXT_WIDTH, sum(heights) + 0.42 * len(maps) + 0.55)
    grid = figure.subplots(len(maps), len(SIDES), squeeze=False, height_ratios=heights)
    scales = {"share": Scale.of_shares(_largest(maps, "share")), "cosine": Scale.of_cosines(_largest(maps, "cosine"))}
    for column, side in enumerate(SIDES):
        for row, (arm, sides) in enumerate(maps.items()):
            axes: Axes = grid[row, column]
            table = sides[side]
            values: Values = table.to_numpy(dtype=np.float64)
            image = draw_map(axes, values, [str(name) for name in table.index], scales[side], named=column == 0)
            _name_steps(axes, list(table.columns), labelled=row == len(maps) - 1)
            if column == 0:
                axes.set_title(labels[arm].label, loc="left", pad=3)
        colour_bar(figure, image, grid[:, column], SIDES[side])
    return figure


def _name_steps(axes: Axes, steps: list[Hashable], *, labelled: bool) -> None:
    places = range(0, len(steps), -(-len(steps) // MOST_TICKS))
    written = EngFormatter(sep="\N{NARROW NO-BREAK SPACE}")
    axes.set_xticks(list(places), [written(float(str(steps[place]))) for place in places])
    if labelled:
        axes.set_xlabel("training step")


def _largest(maps: dict[str, dict[str, pd.DataFrame]], side: str) -> float:
    found = np.concatenate([np.abs(sides[side].to_numpy(dtype=np.float64)).ravel() for sides in maps.values()])
    return float(np.nanmax(found)) if np.isfinite(found).any() else 0.0
