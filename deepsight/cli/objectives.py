"""`deepsight objectives`: what can be plugged together, whether it keeps its contract, and a start for one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deepsight.cli.common import Plugins, Settings, load_plugins, parsed_settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHOW = "show"


class _NamesAreShown(TyperGroup):
    """A group in which a word that is no sub-command is the name of a component to show."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put `show` before the name of a component."""
        known = args and args[0] in self.commands
        return super().resolve_command(ctx, args if known else [SHOW, *args])


app = typer.Typer(
    cls=_NamesAreShown,
    help="List all objectives and their parts; show one (deepsight objectives NAME), check one, or begin one.",
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="[NAME | COMMAND] [ARGS]...",
)


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only one kind, such as objective.")] = None,
    as_json: Json = False,
    plugin: Plugins = None,
) -> None:
    """List every objective, every part of one, every architecture and corpus; or show the one that is named."""
    load_plugins(plugin)
    if context.invoked_subcommand is not None:
        return
    from deepsight.describing import registry_of
    from deepsight.plug_ins import REGISTRIES

    registries = REGISTRIES if kind is None else (registry_of(kind),)
    if as_json:
        from deepsight.cli.objectives_display import overview_as_data, print_json

        print_json(overview_as_data(registries))
        return
    from deepsight.cli.objectives_display import print_overview

    print_overview(registries)


@app.command(SHOW)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or KIND/NAME where several kinds have it.")],
    as_json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Show one component: what it does, its parameters, its source, and what an objective costs."""
    load_plugins(plugin)
    from deepsight.cli.objectives_display import as_data, print_component, print_json
    from deepsight.describing import component_named

    component = component_named(name)
    if as_json:
        print_json(as_data(component, whole=True))
    else:
        print_component(component)


@app.command("check")
def check(
    target: Annotated[str, typer.Argument(metavar="NAME|FILE.py", help="A component, or a file that registers some.")],
    settings: Settings = None,
    plugin: Plugins = None,
) -> None:
    """Check that objectives, and parts of them, keep their contract; exit code 1 where one does not.

    An objective is run on small networks of every architecture: its loss and gradients, that inference stays as it is,
    that no position learns of later tokens, that it repeats, and what it costs.
    """
    load_plugins(plugin)
    from deepsight.cli.checking import checked, components_of_file
    from deepsight.describing import component_named
    from deepsight.errors import UserError

    parameters = parsed_settings(settings)
    is_file = target.endswith(".py") or Path(target).is_file()
    components = components_of_file(Path(target)) if is_file else [component_named(target)]
    if parameters and len(components) > 1:
        raise UserError(f"{target}: --set changes one component, and there are {len(components)} here")
    kept = [checked(component, parameters) for component in components]
    if not all(kept):
        raise typer.Exit(1)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the objective: letters, digits and _.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path(),
    plugin: Plugins = None,
) -> None:
    """Write NAME.py, a small objective that works, and test_NAME.py, its test; then change them into your own."""
    load_plugins(plugin)
    from deepsight.cli.beginning import write_objective

    objective, test = write_objective(name, out)
    typer.echo(f"{objective} and {test} are written. They work as they are; change them into your own:")
    for line in (
        f"deepsight objectives check {objective}",
        f"pytest {test}",
        f"deepsight train tiny --plugin {objective} --set objective={name}",
    ):
        typer.echo(f"  {line}")
