"""Heat maps whose rows are the layers of a network, drawn upwards: shares from zero on, cosines around zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from seaborn import color_palette

from ablations.layer_gradients import WHOLE
from reports.figures.style import GRID, LINE_HEIGHT, plain

Values = npt.NDArray[np.float64]

TALLEST = 1.9
"""Inches that the rows of one map take, at most."""
HALF = 0.5


@dataclass(frozen=True)
class Scale:
    """What colours mean.

    Attributes:
        colours: perceptually uniform, for eyes of all kinds: viridis; or vlag, from blue over almost white to red.
        low, high: the ends.

    """

    colours: Colormap
    low: float
    high: float

    @classmethod
    def of_shares(cls, largest: float) -> Scale:
        """Return the scale from 0 to 1, or to ½ where nothing is larger."""
        return cls(color_palette("viridis", as_cmap=True), 0.0, HALF if largest <= HALF else 1.0)

    @classmethod
    def of_cosines(cls, largest: float) -> Scale:
        """Return the scale from −1 to 1, or from −½ to ½ where nothing is further from zero."""
        reach = HALF if largest <= HALF else 1.0
        return cls(color_palette("vlag", as_cmap=True), -reach, reach)


def ordered_layers(names: Sequence[str], depths: Sequence[float]) -> list[str]:
    """Return the layers from the first on, each once; the whole network comes last."""
    found = {name: math.inf if math.isnan(depth) else depth for name, depth in zip(names, depths, strict=True)}
    return sorted(found, key=lambda name: found[name])


def layer_places(layers: Sequence[str]) -> list[int]:
    """Return the row of each layer, from 0; the whole network's, the last, stands so far above that its name fits."""
    places = list(range(len(layers)))
    if len(layers) > 1 and layers[-1] == WHOLE:
        places[-1] += max(1, math.ceil(LINE_HEIGHT / _row_height(len(layers) + 1)) - 1)
    return places


def map_height(layers: Sequence[str]) -> float:
    """Return the inches that a map of layers takes."""
    rows = layer_places(layers)[-1] + 1
    return rows * _row_height(rows)


def draw_map(axes: Axes, values: Values, layers: Sequence[str], scale: Scale, *, named: bool) -> AxesImage:
    """Draw a map, the first layer below; what is no number is hatched.

    Args:
        axes: to draw on.
        values: (layers, columns).
        layers: names of the rows; the whole network's, where there is one, is the last.
        scale: of the colours.
        named: write the names of layers beside it, as many as there is room for.

    """
    places = layer_places(layers)
    rows = np.full((places[-1] + 1, values.shape[1]), np.nan)
    rows[places] = values
    image = axes.imshow(
        rows, aspect="auto", origin="lower", cmap=scale.colours, vmin=scale.low, vmax=scale.high,
        interpolation="nearest",
    )  # fmt: skip
    _hatch(axes, values, places)
    shown = shown_layers(layers)
    axes.set_yticks(list(shown), list(shown.values()) if named else [""] * len(shown))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def colour_bar(figure: Figure, image: AxesImage, axes: Iterable[Axes], label: str) -> None:
    """Put the scale of a column of maps below it."""
    bar = figure.colorbar(image, ax=list(axes), location="bottom", aspect=28, pad=0.03, shrink=0.9, label=label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)
    low, high = image.get_clim()
    bar.set_ticks([low, (low + high) / 2, high])


def shown_layers(layers: Sequence[str]) -> dict[int, str]:
    """Return row → name where there is room: of every second, or third, … layer, the last one and the whole network."""
    places = layer_places(layers)
    body = places[:-1] if layers[-1] == WHOLE and len(layers) > 1 else places
    step = math.ceil(LINE_HEIGHT / _row_height(places[-1] + 1))
    chosen = body[::step]
    if chosen[-1] != body[-1]:
        # The last one, in the place of one that it would cover.
        chosen = [place for place in chosen if body[-1] - place >= step] + [body[-1]]
    names = dict(zip(places, layers, strict=True))
    return {place: plain(_short(names[place])) for place in dict.fromkeys([*chosen, places[-1]])}


def _hatch(axes: Axes, values: Values, places: Sequence[int]) -> None:
    """Hatch the cells without a number, run by run: where colours end almost white, blank would be read as zero."""
    for place, missing in zip(places, np.isnan(values), strict=True):
        ends = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
        for first, end in zip(ends[::2], ends[1::2], strict=True):
            cells = (first - 0.5, place - 0.5), end - first, 1
            axes.add_patch(Rectangle(*cells, hatch="////", fill=False, edgecolor=GRID, linewidth=0))


def _row_height(rows: int) -> float:
    return min(LINE_HEIGHT, TALLEST / rows)


def _short(layer: str) -> str:
    """Return "encoder 3" for "encoder layer 3"."""
    kind, word, number = layer.rpartition(" layer ")
    return f"{kind} {number}" if word else layer
