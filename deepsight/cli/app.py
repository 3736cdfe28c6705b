"""The command line: `deepsight COMMAND`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import sys

import typer

from deepsight.cli.ablate import ablate
from deepsight.cli.bench import bench
from deepsight.cli.calibrate import calibrate
from deepsight.cli.convert import convert
from deepsight.cli.data import app as data
from deepsight.cli.doctor import doctor
from deepsight.cli.evaluate import evaluate
from deepsight.cli.export import export
from deepsight.cli.generate import generate
from deepsight.cli.model import model
from deepsight.cli.objectives import app as objectives
from deepsight.cli.report import report
from deepsight.cli.train import train

MENDABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.ENAMETOOLONG}
"""What the file system may refuse that a person can mend: rights, space, names."""

app = typer.Typer(
    name="deepsight",
    help="Train and compare language models whose objectives look past the next token.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train)
app.command("ablate")(ablate)
app.command("report")(report)
app.command("evaluate")(evaluate)
app.command("calibrate")(calibrate)
app.command("model")(model)
app.add_typer(objectives, name="objectives")
app.add_typer(data, name="data")
app.command("generate")(generate)
app.command("convert")(convert)
app.command("export")(export)
app.command("doctor")(doctor)
app.command("bench")(bench)


def main() -> None:
    """Run the command line; an error that a person can mend is one sentence and exit code 2."""
    from deepsight.cli.companions import ending_at_once

    with ending_at_once():
        _run()


def _run() -> None:
    from deepsight.cli.companions import spoken
    from deepsight.errors import UserError
    from deepsight.terminal import printable

    try:
        app()
    except UserError as error:
        typer.secho(f"Error: {printable(spoken(error))}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of a pipe has gone; there is nobody to tell.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        typer.secho(f"Error: {place}{error.strerror}", err=True, fg=typer.colors.RED)
        sys.exit(2)
