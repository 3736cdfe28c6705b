"""`deepsight report`: from a study's files to tables, figures and one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a study, finished or not.")],
    plugin: Plugins = None,
) -> None:
    """Build the tables, figures and the page of a study from what it left on disk."""
    load_plugins(plugin)
    from reports.build import build

    typer.echo(f"The report is at {build(folder)}")
