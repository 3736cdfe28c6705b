"""`deepsight evaluate`: ask a trained model, or every trial of a study, what probes can tell of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepsight.cli.common import Plugins, load_plugins, parsed_settings

if TYPE_CHECKING:
    from ablations.finished import FinishedRun
    from ablations.stored import StoredStudy
    from deepsight.registry import Spec

ALL = "all"


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run, or of a study.")],
    probes: Annotated[
        str | None,
        typer.Option(metavar="NAME,…|all", help="What to ask; without it, what can be asked is listed."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME.PARAMETER=VALUE", help="Change a probe, such as future.n=4; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write tables and figures; RUN/probes when not given."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Ask a trained model what its states know, and the like; what was asked before is not computed again."""
    load_plugins(plugin)
    from rich.console import Console

    console = Console(highlight=False)
    if probes is None:
        from deepsight.cli.evaluate_display import print_probes

        places, _ = runs_in(folder)
        print_probes(places, console)
        return
    from deepsight.cli.evaluate_display import Asking, print_found
    from deepsight.training.names import PROBES_FOLDER

    specs = chosen(probes, parsed_settings(settings))
    places, study = runs_in(folder)
    asking = Asking(console, specs, skip=probes == ALL or study is not None)
    asking.ask(places)
    print_found(places, study, [spec["name"] for spec in specs], out or folder / PROBES_FOLDER, console)
    if asking.failed:
        raise typer.Exit(1)


def runs_in(folder: Path) -> tuple[list[FinishedRun], StoredStudy | None]:
    """Return the finished runs of a folder, and the study that they are trials of.

    Raises:
        UserError: there is neither a run nor a study, or nothing of it is finished.

    """
    from ablations.finished import FinishedRun, finished_runs
    from ablations.stored import PLAN_FILE, read_plan
    from deepsight.errors import UserError
    from deepsight.training.folder import RunFolder
    from deepsight.training.names import CONFIG_FILE

    if (folder / PLAN_FILE).is_file():
        study = read_plan(folder)
        places = finished_runs(folder, study)
        if not places:
            raise UserError(f"{folder}: no trial of this study has finished, so none can be asked")
        return places, study
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder}: there is neither a run nor a study here (no {CONFIG_FILE}, no {PLAN_FILE})")
    return [FinishedRun(folder, folder.absolute().name, RunFolder(folder).config().seed)], None


def chosen(written: str, settings: dict[str, Any]) -> list[Spec]:
    """Return the probes that are asked, complete.

    Args:
        written: names with commas between them, or `all`.
        settings: ``name.parameter`` → value.

    Raises:
        UserError: a name or a parameter is unknown, or a setting is of a probe that is not asked.

    """
    from deepsight.errors import UserError, suggestion
    from deepsight.merging import merged
    from deepsight.plug_ins import probes

    names = probes.names() if written == ALL else [name.strip() for name in written.split(",") if name.strip()]
    if not names:
        raise UserError(f"--probes names none; known: {', '.join(probes.names())}, {ALL}")
    specs = {name: {"name": probes[name].name} for name in names}
    for key in settings:
        name, dot, parameter = key.partition(".")
        if not dot or not parameter:
            raise UserError(f"--set {key}: write it as NAME.PARAMETER=VALUE, such as future.n=4")
        if name not in specs:
            raise UserError(f"--set {key}: unknown probe among those asked {name!r}{suggestion(name, specs)}")
    specs = merged(specs, settings)
    found = []
    for name, spec in specs.items():
        try:
            found.append(probes.resolve(spec))
        except UserError as error:
            raise error.within(name) from None
    return found
