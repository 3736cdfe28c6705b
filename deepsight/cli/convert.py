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
    attention_order: Annotated[
        str | None,
        typer.Option(metavar="self_first|cross_first", help="Of a sibling's decoder; self_first if not said."),
    ] = None,
    subtract_positions: Annotated[
        str | None,
        typer.Option(
            metavar="none|plain|normed",
            help="What a sibling does with the next position; normed if the weights show that norm, else plain.",
        ),
    ] = None,
    add_positions: Annotated[
        bool | None, typer.Option(help="Whether a sibling's decoder reads the next position; no if not said.")
    ] = None,
    bridge_norm: Annotated[
        bool | None,
        typer.Option(help="Whether a sibling has a norm before its bridge; as the weights show if not said."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Convert original weights; the published shapes know their heads, others need --heads.

    Weights of the sibling encoder_decoder are recognised by norms that only it has. Those without any are taken for a
    DeepSight's unless an option that speaks of a sibling is given.
    """
    load_plugins(plugin)
    from deepsight.convert import convert as run

    options = {
        "attention_order": attention_order,
        "subtract_positions": subtract_positions,
        "add_positions": add_positions,
        "bridge_norm": bridge_norm,
    }
    said = {name: value for name, value in options.items() if value is not None}
    config = run(original, out, heads, cross_heads, said)
    layers = config.layers if isinstance(config.layers, int) else "+".join(map(str, config.layers))
    typer.echo(f"{out}: {config.architecture_name}, {layers} layers, width {config.width}, context {config.context}")
    if isinstance(config.architecture, dict):
        parameters = [f"{name} {value}" for name, value in config.architecture.items() if name != "name"]
        typer.echo(f"taken as: {', '.join(parameters)}")
