"""The page of a study: one HTML file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

import yaml
from markupsafe import Markup

from ablations.stored import StoredStudy
from reports.arm_panels import ArmPanels, linked
from reports.figures.style import COLUMN_WIDTH
from reports.finding import Finding
from reports.table import Table
from reports.table_formats import ENVIRONMENT, to_html
from reports.warnings import StudyWarning

SCRIPTS = ("address.js", "sorting.js", "filtering.js", "enlarging.js")
"""The parts of the page's script, in order; the first keeps what the others show."""


@dataclass(frozen=True)
class PageFigure:
    """A figure as it stands in the page; `width` in inches, of the file."""

    name: str
    title: str
    caption: str
    image: Markup
    width: float

    @property
    def is_wide(self) -> bool:
        """Whether it takes both columns of a paper, and so the whole width of the page."""
        return self.width > COLUMN_WIDTH


class WithTables(Protocol):
    """What every page has."""

    @property
    def tables(self) -> Mapping[str, Table]:
        """Its tables, by name."""


@dataclass(frozen=True)
class Page:
    """All that a page shows."""

    study: StoredStudy
    finding: Finding
    warnings: tuple[StudyWarning, ...]
    tables: Mapping[str, Table]
    figures: tuple[PageFigure, ...]
    arms: ArmPanels


def render(page: Page) -> str:
    """Return the page as HTML.

    Every text from the study is escaped, and the one script is named by its hash in the page's content policy, so that
    a name in a study cannot run anything even if it were not.
    """
    return rendered(
        "page.html",
        page,
        {arm.name: place for place, arm in enumerate(page.study.arms)},
        study=page.study,
        base=yaml.safe_dump(page.study.base, sort_keys=False, allow_unicode=True),
    )


def rendered(template: str, page: WithTables, places: Mapping[str, int], **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: `page.html`, or one that extends it.
        page: what it shows.
        places: name → number of each arm that has a panel on the page.
        values: further ones that the template needs.

    """
    script = "\n".join(part(name) for name in SCRIPTS)
    return ENVIRONMENT.get_template(template).render(
        page=page,
        table=lambda name: to_html(linked(page.tables[name], places), places),
        style=Markup(part("page.css")),
        script=Markup(script),
        script_source=Markup(script_source(script)),
        **values,
    )


def script_source(script: str) -> str:
    """Return what names a script in a content policy: by its hash, so that no other one runs."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def part(name: str) -> str:
    """Return the text of a file that goes into pages as it is."""
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")
