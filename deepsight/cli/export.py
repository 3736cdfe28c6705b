"""`deepsight export`: a trained model in a form that others load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins

FORMS = ("hf",)


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with a checkpoint.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder.")],
    to: Annotated[str, typer.Option(metavar="|".join(FORMS), help="hf: a model folder of transformers.")] = "hf",
    plugin: Plugins = None,
) -> None:
    """Write a trained model as a folder that transformers loads.

    A baseline with learned positions becomes a plain GPT-2; any other model loads after "import deepsight.huggingface".
    """
    load_plugins(plugin)
    from importlib.util import find_spec

    from deepsight.errors import UserError, suggestion

    if to not in FORMS:
        raise UserError(f"a model cannot be written as {to!r}{suggestion(to, FORMS)}")
    if find_spec("transformers") is None:
        raise UserError('this needs transformers: pip install "deepsight[hf]"')
    from deepsight.huggingface.folder import export as run

    model = run(folder, out)
    parameters = sum(weight.numel() for weight in model.parameters())
    typer.echo(f"{out}: {type(model).__name__}, {parameters:,} parameters")
    if model.config.model_type == "deepsight":
        typer.echo("import deepsight.huggingface, and AutoModelForCausalLM.from_pretrained loads it.")
