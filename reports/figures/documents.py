"""Differences document by document: whether an arm is better on most of the text, or on a part of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.stored import StoredStudy
from reports.figures.positions import by_arm
from reports.figures.rows import finish_rows, row_heights, row_places
from reports.figures.style import COLUMN_WIDTH, INK, MUTED, PAPER, ArmStyle, applied, arm_styles, new_figure, wrapped
from reports.references import compared_with

FEWEST_TOKENS = 32
"""The loss of a document of which less was evaluated says little."""
FEWEST_DOCUMENTS = 8
NAME_WIDTH = 18


@dataclass(frozen=True)
class DocumentDifferences:
    """An arm's differences to the reference, one a document: the mean over paired seeds, nats per token."""

    arm: str
    differences: npt.NDArray[np.float64]

    @property
    def better(self) -> float:
        """The share of documents on which the arm has the lower loss."""
        return float((self.differences < 0).mean())


def document_differences_of(study: StoredStudy, documents: pd.DataFrame) -> list[DocumentDifferences]:
    """Return each arm's differences by document, in the study's order.

    Documents of which fewer than 32 tokens were evaluated are left out; arms without a pair, or with fewer than eight
    documents, too.

    Args:
        study: whose arms they are.
        documents: as `ablations.breakdowns.Breakdowns.documents`.

    """
    enough = documents[documents["tokens"] >= FEWEST_TOKENS]
    losses = (enough["nats"] / enough["tokens"]).astype("float64").rename("loss")
    table = pd.concat([enough[["arm", "seed", "document"]], losses], axis=1)
    wide = table.pivot_table(index=["arm", "seed"], columns="document", values="loss")
    of_arms = by_arm(wide)
    found = []
    for name, reference in compared_with(study).items():
        if name not in of_arms or reference not in of_arms:
            continue
        differences = (of_arms[name] - of_arms[reference]).dropna(how="all")
        means: pd.Series[float] = differences.mean()
        if means.count() >= FEWEST_DOCUMENTS:
            found.append(DocumentDifferences(name, np.asarray(means.dropna(), dtype=np.float64)))
    return found


def document_differences(study: StoredStudy, documents: pd.DataFrame) -> Figure | None:
    """Draw each arm's differences to the reference over the validation documents; None without any.

    The dot is the median document, the thick line holds the middle half, the thin one nine in ten; the share of
    documents on which the arm is better stands at the right.
    """
    found = document_differences_of(study, documents) if not documents.empty else []
    if not found:
        return None
    with applied():
        styles = arm_styles(study)
        names = [wrapped(styles[one.arm].label, NAME_WIDTH, 3) for one in found]
        heights = row_heights(names)
        figure = new_figure(COLUMN_WIDTH, sum(heights) + 0.62)
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        places = row_places(heights)
        for place, one in zip(places, found, strict=True):
            _draw(axes, place, one, styles[one.arm])
        finish_rows(axes, names, places, sum(heights), "difference by document (nats per token)")
        axes.annotate(
            "better on", (1, 1), (2, 1), xycoords="axes fraction", textcoords="offset points", color=MUTED, va="bottom"
        )
    return figure


def _draw(axes: Axes, place: float, one: DocumentDifferences, style: ArmStyle) -> None:
    low, quarter, middle, three_quarters, high = np.quantile(one.differences, [0.05, 0.25, 0.5, 0.75, 0.95])
    axes.plot([low, high], [place, place], color=style.colour, linewidth=0.8, zorder=2)
    axes.plot([quarter, three_quarters], [place, place], color=style.colour, linewidth=4.5, solid_capstyle="butt",
              alpha=0.6, zorder=3)  # fmt: skip
    axes.plot([middle], [place], style.marker, color=style.colour, markersize=4.5, markeredgecolor=PAPER,
              markeredgewidth=0.6, zorder=4)  # fmt: skip
    axes.annotate(f"{one.better:.0%}".replace("%", "\N{NARROW NO-BREAK SPACE}%"), (1, place), (4, 0),
                  xycoords=("axes fraction", "data"), textcoords="offset points", va="center")  # fmt: skip
