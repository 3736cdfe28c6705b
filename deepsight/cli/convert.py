"""`deepsight convert`: checkpoints of the original implementations become ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins


def convert(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="Original weights, as safetensors.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the converted checkpoint.")],
    heads: Annotated[int | None, typer.Option(min=1, help="Heads of self-attention; weights do not show them.")] = None,
    cross_heads: Annotated[int | None, typer.Option(min=1, help="Heads of cross-attention.")] = None,
    plugin: Plugins = None,
) -> None:
    """Convert original weights; the published shapes know their heads, others need --heads."""
    load_plugins(plugin)
    from deepsight.convert import convert as run

    config = run(original, out, heads, cross_heads)
    layers = config.layers if isinstance(config.layers, int) else "+".join(map(str, config.layers))
    typer.echo(f"{out}: {config.architecture}, {layers} layers, width {config.width}, context {config.context}")
