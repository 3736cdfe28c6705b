"""`deepsight report`: from a study's files to tables, figures and one page; written, or served live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins

PORT = 8765
LOOK_SECONDS = 0.1


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a study, finished or not.")],
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the page to browsers on this machine, kept up to date, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65535, help=f"With --serve: the port, {PORT} when not given; 0 for any free one."
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Build the tables, figures and the page of a study from what it left on disk."""
    from deepsight.errors import UserError

    if port is not None and not serve:
        raise UserError("--port is for --serve: deepsight report --serve DIR --port N")
    load_plugins(plugin)
    if serve:
        return _serve(folder, PORT if port is None else port)
    from reports.build import build

    typer.echo(f"The report is at {build(folder)}")


def _serve(folder: Path, port: int) -> None:
    """Serve the report of a study until a signal comes."""
    import time

    from ablations.stored import read_plan
    from deepsight.cli.stopping import stop_on_signal
    from reports.serving.live import LiveReport
    from reports.serving.server import serving

    read_plan(folder)
    live = LiveReport(folder, note=lambda sentence: typer.echo(sentence, err=True))
    with stop_on_signal() as stopped, serving(live, port) as server:
        typer.echo(f"The report is at {server.address} until Ctrl-C.")
        while not stopped():
            time.sleep(LOOK_SECONDS)
    typer.echo("Stopped.")
