"""`deepsight data`: what a run can learn from, looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins, parsed_settings

app = typer.Typer(
    help="Look at planning tasks: sequences whose answer is known.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def data() -> None:
    """Look at planning tasks: sequences whose answer is known."""


@app.command("show")
def show(
    name: Annotated[str | None, typer.Argument(metavar="TASK", help="Such as path-star; all when not given.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the task, such as degree=3; may be repeated."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many sequences.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same sequences.")] = 0,
    plugin: Plugins = None,
) -> None:
    """Show a task: some of its sequences, which tokens are the answer, what is measured, and what chance gives."""
    load_plugins(plugin)
    from deepsight.cli.data_display import print_task, print_tasks
    from deepsight.errors import UserError

    if name is None:
        if settings:
            raise UserError("--set changes a parameter of one task; name it, such as path-star")
        print_tasks()
        return
    print_task({"name": name.replace("-", "_"), **parsed_settings(settings)}, count, seed)
