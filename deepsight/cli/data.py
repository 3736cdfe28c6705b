"""`deepsight data`: what a run can learn from, looked at and handed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepsight.cli.common import PRESETS, Plugins, Settings, load_plugins, parsed_settings

if TYPE_CHECKING:
    from deepsight.data.packed import PackedCorpus

HUB = "hub:"
Source = Annotated[str, typer.Argument(metavar="PRESET|CONFIG.yaml", help=f"A run's file, or a preset: {PRESETS}.")]

app = typer.Typer(
    help="Look at what a run learns from, text or planning tasks, and hand text on as a dataset.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def data() -> None:
    """Look at what a run learns from, text or planning tasks, and hand text on as a dataset."""


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


@app.command("inspect")
def inspect(source: Source = "tiny", settings: Settings = None, plugin: Plugins = None) -> None:
    """Say how much text a run learns from, how long its documents are, and which tokens are frequent."""
    load_plugins(plugin)
    from deepsight.cli.data_display import print_corpus

    print_corpus(_packed(source, settings))


@app.command("push")
def push(
    to: Annotated[str, typer.Option(metavar="FOLDER|hub:USER/NAME", help="A new folder, or a name on the Hub.")],
    source: Source = "tiny",
    settings: Settings = None,
    private: Annotated[bool, typer.Option("--private", help="On the Hub, where only you see it.")] = False,
    plugin: Plugins = None,
) -> None:
    """Write the text that a run learns from as a dataset of the datasets library: documents, their tokens, a card."""
    load_plugins(plugin)
    from deepsight.data.publishing import push_dataset, write_dataset
    from deepsight.errors import UserError

    if not to.startswith(HUB):
        folder = Path(to)
        if private:
            raise UserError(f"--private is for the Hub; {folder} is a folder here")
        write_dataset(_packed(source, settings), folder)
        typer.echo(f"{folder}: datasets.load_from_disk reads it")
        return
    repository = to.removeprefix(HUB)
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"{to!r} is no name on the Hub; such as hub:user/name")
    typer.echo(push_dataset(_packed(source, settings), repository, private=private))


def _packed(source: str, settings: list[str] | None) -> PackedCorpus:
    from deepsight.data.of_run import pack_for
    from deepsight.errors import UserError
    from deepsight.presets import load_run

    packed = pack_for(load_run(source, parsed_settings(settings)).data)
    if packed is None:
        raise UserError(f"{source}: this run learns a task, which is drawn, not stored; `deepsight data show` shows it")
    return packed
