"""`deepsight model`: what a model costs before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from deepsight.cli.common import PRESETS, Plugins, Settings, load_plugins, parsed_settings


def model(
    source: Annotated[str, typer.Argument(metavar="PRESET|CONFIG.yaml", help=f"A run's file, or a preset: {PRESETS}.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    settings: Settings = None,
    plugin: Plugins = None,
) -> None:
    """Print a model's shape, parameters, FLOPs per token and estimated training memory."""
    load_plugins(plugin)
    from deepsight.counting import cost_of
    from deepsight.presets import load_run

    config = load_run(source, parsed_settings(settings))
    cost = cost_of(config)
    if as_json:
        import json

        described = {**config.model.model_dump(mode="json"), "vocabulary": config.data.vocabulary}
        typer.echo(json.dumps({"model": described, "objective": config.objective, **cost.as_dict()}, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    shape = config.model
    objectives = ", ".join(spec["name"] for spec in config.objective) or "none"
    table = Table(title=source, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    rows = {
        "architecture": shape.architecture_name,
        "layers": str(shape.layers),
        "width": f"{shape.width}",
        "heads": f"{shape.heads}" + (f" (cross {shape.cross_heads})" if shape.cross_heads else ""),
        "context": f"{shape.context}",
        "positions": shape.positions,
        "vocabulary": f"{config.data.vocabulary:,}",
        "objective": objectives,
        "parameters, total": f"{cost.total:,}",
        "parameters without positions": f"{cost.without_positions:,}",
        "parameters at inference": f"{cost.inference:,}",
        "parameters of training only": f"{cost.training_only:,}",
        "forward FLOPs per token": f"{cost.inference_flops_per_token:,}",
        "training FLOPs per token": f"{cost.training_flops_per_token:,}",
        "training memory, estimated": f"{cost.training_memory / 2**30:.2f} GiB",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
