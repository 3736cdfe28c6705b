"""A figure as files and as a part of a page, the same bytes each time."""

from __future__ import annotations

import base64
import io
import re

from markupsafe import Markup
from matplotlib.figure import Figure

from reports.figures.style import GRID, INK, MUTED, PAPER, applied

MOST_INLINE_BYTES = 400_000
"""A larger drawing goes into the page as a picture: a page with hundreds of trials must stay light."""
PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}


def to_png(figure: Figure) -> bytes:
    """Return the figure as PNG at 300 dpi."""
    buffer = io.BytesIO()
    with applied():
        figure.savefig(buffer, format="png", dpi=300, metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG, without a date."""
    buffer = io.StringIO()
    with applied():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def for_page(name: str, svg: str, png: bytes, description: str) -> Markup:
    """Return a figure to put into HTML: the drawing itself, in the page's colours, or the picture of a large one.

    Args:
        name: prefix that keeps the drawing's ids apart from those of others.
        svg: what `to_svg` gave.
        png: what `to_png` gave.
        description: read out instead of the figure.

    """
    if len(svg) > MOST_INLINE_BYTES:
        data = base64.b64encode(png).decode("ascii")
        return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(data, description)
    drawing = svg[svg.index("<svg") :]
    # A style element would hold for the whole page; its one rule stands in the page's own style.
    drawing = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'( id="| xlink:href="#|url\(#)', rf"\g<1>{name}-", drawing)
    for colour, variable in PAGE_COLOURS.items():
        drawing = drawing.replace(colour, f"var({variable})")
    drawing = re.sub(r"\n\s*", "\n", drawing).strip()
    label = Markup('<svg role="img" aria-label="{}" ').format(description)
    # Safe: matplotlib wrote it; names in it are glyph outlines, and the comments that spelled them are gone.
    return label + Markup(drawing.removeprefix("<svg ").strip())
