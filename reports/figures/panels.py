"""Which panels show the diagnostics of an objective: titles, order, rows, and over how many figures."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.collapse import quantity
from reports.distributions import distributions
from reports.frames import diagnostic_columns

FIRST = ("loss", "loss over trivial", "gradient share", "gradient cosine")
LAST = ("gain", "variance", "smallest variance", "effective rank", "mean cosine")
"""The order of the panels: what the objective has one number of, anything else, what each of its two sides has."""
TITLES = {
    "loss": "loss of the objective",
    "loss over trivial": "loss over that of a constant answer",
    "gradient share": "share of the gradient",
    "gradient cosine": "cosine with the rest of the gradient",
    "gain": "mean |gain| of the norms",
    "smallest variance": "smallest variance of a dimension",
    "mean cosine": "mean cosine between positions",
}
MOST_STACKED = 5
"""So many panels stand in one column; more stand in two."""
MOST_PANELS = 10
"""With more panels than this there are two figures or more."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a quantity, and the column of each side; "" where it has no sides, or shows one alone."""

    quantity: str
    title: str
    columns: dict[str, str]


Row = tuple[Panel, ...]
"""One panel, as wide as the figure, or two."""


def figure_rows(curves: pd.DataFrame, objective: str, *, together: bool) -> list[list[Row]]:
    """Return the rows of each figure of an objective: as few figures as may be, of about one size.

    Args:
        curves: completed ones.
        objective: label, as in the columns ``<label>/<metric>``.
        together: prediction and target share a panel; otherwise they stand in one row.

    """
    alone, sided = _panels(curves, objective, together=together)
    count = len(alone) + len(sided)
    if count <= MOST_STACKED:
        return [[(panel,) for panel in (*alone, *sided)]] if count else []
    # Where the number is odd, the loss takes a whole row: the two sides of a quantity must not be parted.
    odd = (len(alone) if not together else count) % 2
    panels = [*alone, *sided]
    pairs = [tuple(panels[start : start + 2]) for start in range(odd, count, 2)]
    rows: list[Row] = [*([(panels[0],)] if odd else []), *pairs]
    size = -(-len(rows) // -(-count // MOST_PANELS))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def quantities(curves: pd.DataFrame, objective: str) -> dict[str, dict[str, str]]:
    """Return what an objective left numbers of: quantity → side → column; "" is the side of one that has none.

    The probabilities of a learned distribution are left to a figure of their own.
    """
    found: dict[str, dict[str, str]] = {}
    drawn_together = {column for one in distributions(curves) for column in one.columns}
    for column in diagnostic_columns(curves):
        owner, metric = column.split("/", 1)
        if owner == objective and column not in drawn_together and curves[column].notna().any():
            side, name = quantity(metric)
            found.setdefault(name, {})[side] = column
    return found


def _panels(curves: pd.DataFrame, objective: str, *, together: bool) -> tuple[list[Panel], list[Panel]]:
    """Return the panels of quantities without sides, or with one that stands alone, and those of the others."""
    alone: list[Panel] = []
    sided: list[Panel] = []
    for name, columns in sorted(quantities(curves, objective).items(), key=lambda item: _place(item[0])):
        title = TITLES.get(name, name)
        if together and "" not in columns:
            sided.append(Panel(name, title, columns))
            continue
        parts = [Panel(name, f"{title}, {side}" if side else title, {"": column}) for side, column in columns.items()]
        (sided if len(parts) == 2 else alone).extend(parts)
    return alone, sided


def _place(name: str) -> tuple[int, str]:
    """Return what sorts quantities: known ones in their order, unknown ones by name before those with two sides."""
    if name in FIRST:
        return FIRST.index(name), ""
    return len(FIRST) + (LAST.index(name) + 1 if name in LAST else 0), name
