"""`deepsight report`: from a study's files to tables, figures and one page; served live, or beside another study's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins

PORT = 8765
LOOK_SECONDS = 0.1


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="The folder of a study, finished or not; a second one is set beside it."),
    ],
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the page to browsers on this machine, kept up to date, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65535, help=f"With --serve: the port, {PORT} when not given; 0 for any free one."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="With two studies: where to write; beside-NAME in the first folder when not given."
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Build the tables, figures and the page of a study from what it left on disk; of two studies, side by side."""
    from deepsight.errors import UserError

    if len(folders) > 2:
        raise UserError(f"deepsight report takes one study, or two to see side by side, not {len(folders)}")
    if serve and len(folders) == 2:
        raise UserError("--serve shows one study; two side by side are written to files, without it")
    if port is not None and not serve:
        raise UserError("--port is for --serve: deepsight report --serve DIR --port N")
    if out is not None and len(folders) == 1:
        raise UserError(f"--out is for two studies side by side; the report of one is written to {folders[0]}/report")
    load_plugins(plugin)
    if serve:
        return _serve(folders[0], PORT if port is None else port)
    from reports.build import build, build_beside

    page = build(folders[0]) if len(folders) == 1 else build_beside(folders[0], folders[1], out)
    typer.echo(f"The report is at {page}")


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
