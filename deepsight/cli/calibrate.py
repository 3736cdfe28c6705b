"""`deepsight calibrate`: how often the report's verdicts are wrong, and how often they find what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WIDE = 110
"""Columns in which every row of the table is one line."""


def calibrate(
    studies: Annotated[int, typer.Option(min=1, help="Simulated studies for each row of the table.")] = 4000,
    arms: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Arms beside the reference; may be repeated. 5 and 20 when not given."),
    ] = None,
    seeds: Annotated[
        list[int] | None,
        typer.Option(min=2, metavar="N", help="Seeds of each arm; may be repeated. 3, 5 and 8 when not given."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation; the same one gives the same table.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the table here, as .csv (in full), .md, .tex, .html."),
    ] = None,
) -> None:
    """Simulate studies with and without an effect, and judge them as the report judges real ones.

    Prints how many studies without any effect claim one all the same, what that would be by other means, and the power.
    """
    from rich.console import Console
    from rich.progress import track

    from deepsight.cli.table_display import print_table
    from deepsight.errors import UserError, suggestion
    from deepsight.files import write_text
    from reports.calibration import ARMS, SEEDS, calibrate, calibration_table, settings
    from reports.table_formats import FORMATS

    if out is not None and out.suffix not in FORMATS:
        raise UserError(f"--out {out}: unknown ending {out.suffix!r}{suggestion(out.suffix, FORMATS)}")
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    every = list(settings(arms or ARMS, seeds or SEEDS))
    steps = track(every, "simulating", console=console, transient=True, disable=not console.is_terminal)
    table = calibration_table([calibrate(setting, studies, seed) for setting in steps])
    print_table(table, console)
    if out is not None:
        write_text(out, FORMATS[out.suffix](table))
        console.print(f"The table is at {out}", soft_wrap=True)
